"""A one-class SVM for each fold, around gradients of the validation split or of the samples with the lowest loss."""

import numpy as np
import pytest
from sklearn.svm import OneClassSVM

from tasks.core.errors import BadConfig
from tasks.scoring.detectors import DetectorChoice

N, M, F, OUTLIER = 180, 40, 3, 37


def detector_of(**options):
    return DetectorChoice.model_validate({"kind": "ocsvm"} | options).component


def twin(rows, reference, nu):
    """−decision_function of rows and references in units of the rows' spread, over the offset."""
    spread = rows.std(0)
    svm = OneClassSVM(nu=nu, gamma=1 / rows.shape[1]).fit(reference / spread)
    return -svm.decision_function(rows / spread) / svm.offset_


@pytest.mark.parametrize("reference", ["validation", "low_loss"])
def test_each_fold_is_judged_by_references_of_its_own_network(referred, reference):
    nu = 0.2
    suspicion = detector_of(reference=reference, nu=nu).score(referred)
    matrix = referred.gradients.dense(1 << 20)
    held = referred.reference.dense(1 << 20)
    loss = referred.gradients.scalar("loss")
    for fold in range(F):
        members = np.flatnonzero(referred.folds == fold)
        near = held[referred.reference.scalar("fold") == fold]
        if reference == "low_loss":
            near = matrix[members[loss[members] <= np.median(loss[members])]]
        np.testing.assert_allclose(suspicion[members], twin(matrix[members], near, nu), rtol=1e-4, atol=1e-6)


def test_auto_takes_the_validation_split_where_there_is_one(referred, evidence):
    assert referred.reference is not None
    assert evidence.reference is None
    for shown, chosen in ((referred, "validation"), (evidence, "low_loss")):
        np.testing.assert_array_equal(detector_of().score(shown), detector_of(reference=chosen).score(shown))
    assert (detector_of().score(referred) != detector_of().score(evidence)).any()


def test_a_validation_split_that_is_not_there_is_a_bad_option(evidence):
    with pytest.raises(BadConfig, match=r"ocsvm, option reference: .*a run without one.*to low_loss"):
        detector_of(reference="validation").score(evidence)


@pytest.mark.parametrize("shown", ["referred", "shuffled"])
def test_the_reference_has_each_sample_once_for_every_network(request, world, shown):
    reference = request.getfixturevalue(shown).reference
    ids, networks = reference.ids().to_pylist(), reference.scalar("fold")
    assert ids == sorted(ids)
    assert sorted(zip(ids, networks, strict=True)) == [(f"{N + i:04d}", f) for i in range(M) for f in range(F)]
    # Rows, scalars and ids agree on which of the three is which.
    rows = np.array([int(name) for name in ids])
    said = world.outputs(rows, world.labels[rows], networks)
    expected = np.einsum("nk,nh->nkh", said.residual, world.features[rows]).reshape(len(rows), -1)
    np.testing.assert_allclose(reference.dense(1 << 20), expected, rtol=1e-5)
    np.testing.assert_allclose(reference.scalar("loss"), said.loss, rtol=1e-6)


@pytest.mark.parametrize("reference", ["validation", "low_loss"])
def test_of_more_references_than_wanted_the_seed_draws_some(referred, reference, monkeypatch):
    sizes = []
    fit = OneClassSVM.fit
    monkeypatch.setattr(OneClassSVM, "fit", lambda self, x: sizes.append(len(x)) or fit(self, x))
    first, again, other = (
        detector_of(reference=reference, references=9, seed=seed).score(referred) for seed in (1, 1, 2)
    )
    assert sizes == [9] * 9
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert first.argmax() == OUTLIER


def test_a_share_nu_of_the_references_lies_outside(referred):
    suspicion = detector_of(reference="low_loss", nu=0.5).score(referred)
    loss = referred.gradients.scalar("loss")
    outside = 0
    for fold in range(F):
        members = np.flatnonzero(referred.folds == fold)
        outside += (suspicion[members[np.argsort(loss[members])[:30]]] > 1e-6).sum()
    assert outside / 90 == pytest.approx(0.5, abs=0.1)
