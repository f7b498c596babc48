"""Every detector ranks a wrong label high, whatever the order of rows and shards, repeats by its seed, and knows of a
canary no more than of any other sample."""

import numpy as np
import pytest

from tasks.scoring.canary_evidence import canaries_of
from tasks.scoring.detectors import DETECTORS, DetectorChoice

N, OUTLIER = 180, 37

# name → options; where the outlier comes is in LATER
CASES = {kind: {"kind": kind} for kind in DETECTORS.components if kind != "pyod"} | {
    "iforest_normalised_by_class": {"kind": "iforest", "on": "normalised", "by": "class"},
    "neighbours_features": {"kind": "neighbours", "space": "features"},
    "ocsvm_projected": {"kind": "ocsvm", "width": 8, "reference": "low_loss", "references": 20},
    "pyod_ecod": {"kind": "pyod", "detector": "ECOD"},
    "pyod_hbos": {"kind": "pyod", "detector": "HBOS"},
    "pyod_knn": {"kind": "pyod", "detector": "KNN", "parameters": {"n_neighbors": 7}, "width": 8},
    "pyod_pca_by_fold": {"kind": "pyod", "detector": "PCA", "by": "fold"},
    "pyod_loda_normalised_by_class": {"kind": "pyod", "detector": "LODA", "on": "normalised", "by": "class"},
}
# Cases in which so many other samples may be as suspect: a column at a time, or directions alone, an outlier may look
# like any other.
LATER = {"pyod_ecod": 9, "pyod_hbos": 17, "iforest_normalised_by_class": 17, "pyod_loda_normalised_by_class": 17}


def detector_of(name, **options):
    return DetectorChoice.model_validate(CASES[name] | options).component


BLIND = [name for name in CASES if not detector_of(name).label_aware]
SEEING = [name for name in CASES if name not in BLIND]
SEEDED = [name for name, options in CASES.items() if "seed" in DETECTORS.components[options["kind"]].model_fields]
POINTWISE = [name for name in CASES if detector_of(name).pointwise]
RELATIVE = [name for name in CASES if detector_of(name).relative]
# Somebody else's, fitted on all samples it is given.
FOREIGN = ["confident_learning"]
# A case of each that gradients stored whole, and not as factors, leave as it is.
OF_GRADIENTS = [
    "iforest",
    "l1",
    "l2",
    "gradient_tracing",
    "datainf",
    *(n for n in CASES if n[:5] in ("pyod_", "ocsvm")),
]


def test_every_detector_has_a_case_and_tells_what_it_sees():
    assert {options["kind"] for options in CASES.values()} == set(DETECTORS.components)
    known = {
        "gradients",
        "probabilities",
        "votes",
        "inputs",
        "dynamics",
        "canaries",
        "reference",
        "opinions",
        "nothing",
    }
    for part in DETECTORS.components.values():
        assert part.sees
        assert set(part.sees) <= known


def test_every_case_has_a_column_of_its_own_but_for_width():
    names = [detector_of(name).name for name in CASES if name != "ocsvm_projected"]
    assert names == [name for name in CASES if name != "ocsvm_projected"]


@pytest.mark.parametrize("name", CASES)
def test_every_sample_has_one_finite_score(evidence, name):
    suspicion = detector_of(name).score(evidence)
    assert suspicion.shape == (N,)
    assert suspicion.dtype == np.float64
    assert np.isfinite(suspicion).all()


@pytest.mark.parametrize("name", SEEING)
def test_a_wrong_label_comes_first(evidence, name):
    suspicion = detector_of(name).score(evidence)
    others = np.delete(suspicion, OUTLIER)
    assert (others >= suspicion[OUTLIER]).sum() <= LATER.get(name, 0)


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_rows_and_shards_changes_nothing(referred, shuffled, name):
    hint = "blocks come in the shards' order: add up by rank, as Dense.matrix gives the rows"
    np.testing.assert_array_equal(detector_of(name).score(shuffled), detector_of(name).score(referred), err_msg=hint)


@pytest.mark.parametrize("name", [*POINTWISE, *RELATIVE, "confident_learning", "gradient_tracing", "datainf"])
def test_the_order_of_classes_changes_nothing(evidence, reordered, name):
    expected = detector_of(name).score(evidence)
    np.testing.assert_allclose(detector_of(name).score(reordered), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_repeats(evidence, name):
    options = {"seed": 3} if name in SEEDED else {}
    first, again = (detector_of(name, **options).score(evidence) for _ in range(2))
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("name", ["random", "iforest", "pyod_knn", "pyod_loda_normalised_by_class", "ocsvm_projected"])
def test_another_seed_draws_otherwise(evidence, name):
    assert (detector_of(name, seed=3).score(evidence) != detector_of(name, seed=4).score(evidence)).any()


@pytest.mark.parametrize("name", [name for name in CASES if name not in RELATIVE])
def test_canaries_are_shown_as_if_their_planted_label_had_been_given(evidence, relabelled, name):
    planted, places = detector_of(name).score(evidence.with_planted_labels), evidence.canary_ranks
    np.testing.assert_array_equal(planted[places], detector_of(name).score(relabelled)[places])
    if name in POINTWISE:
        np.testing.assert_array_equal(planted, detector_of(name).score(relabelled))


@pytest.mark.parametrize("name", [*POINTWISE, "label_flow"])
def test_planted_labels_change_no_score_but_the_canaries(evidence, name):
    rest = np.delete(np.arange(N), evidence.canary_ranks)
    given, planted = (
        detector_of(name).score(shown) for shown in (evidence.with_given_labels, evidence.with_planted_labels)
    )
    np.testing.assert_array_equal(planted[rest], given[rest])


@pytest.mark.parametrize("name", [name for name in SEEING if name not in LATER])
def test_canaries_are_the_most_suspect_under_their_planted_labels(evidence, name):
    places = evidence.canary_ranks
    given, planted = (
        detector_of(name).score(shown) for shown in (evidence.with_given_labels, evidence.with_planted_labels)
    )
    rest = np.delete(np.arange(N), [*places, OUTLIER])
    assert planted[places].min() > planted[rest].max()
    assert (planted[places] > given[places]).all()


NEW = np.flatnonzero(np.arange(N) % 6 == 1)


@pytest.fixture(scope="module")
def rubbish(evidence_of, world):
    """Evidence with new samples, before and after these have other labels."""
    labels = world.labels[:N].copy()
    labels[NEW] = (labels[NEW] + 1) % 3
    return evidence_of(new=NEW), evidence_of(labels=labels, new=NEW)


@pytest.mark.parametrize("name", [name for name in CASES if name not in FOREIGN])
def test_what_new_samples_bear_moves_nobody_elses_score(rubbish, name):
    """What is fitted is fitted on the settled ones: a night of rubbish changes no score of those before it."""
    before, after = (detector_of(name).score(shown) for shown in rubbish)
    rest = np.setdiff1d(np.arange(N), NEW)
    hint = "what is fitted is fitted on evidence.in_base"
    np.testing.assert_allclose(after[rest], before[rest], rtol=1e-6, atol=1e-9, err_msg=hint)
    if name not in BLIND:
        assert (after[NEW] != before[NEW]).any()


@pytest.fixture(scope="module")
def whole(evidence_of):
    """The same samples, their gradients stored whole."""
    return evidence_of(whole=True)


@pytest.mark.parametrize("name", OF_GRADIENTS)
def test_gradients_stored_whole_score_as_their_factors_do(evidence, whole, name):
    assert not whole.gradients.factored
    np.testing.assert_allclose(detector_of(name).score(whole), detector_of(name).score(evidence), rtol=1e-4, atol=1e-6)


def test_the_norms_are_those_of_the_dense_matrix(shuffled):
    dense = shuffled.gradients.dense(1 << 20).astype(np.float64)
    np.testing.assert_allclose(detector_of("l1").score(shuffled), np.abs(dense).sum(1), rtol=1e-5)
    np.testing.assert_allclose(detector_of("l2").score(shuffled), np.linalg.norm(dense, axis=1), rtol=1e-5)


# ---- the canaries alone ----------------------------------------------------------------------------------------------

ALONE = [n for n in CASES if detector_of(n).apart or "score_canaries" in vars(type(detector_of(n)))]


def test_the_signals_of_a_fusion_look_at_the_canaries_alone():
    """But for LiSSA, whose reference the planted labels are a part of."""
    assert {*detector_of("fusion").signals, "fusion", "sei", "el2n"} - {*ALONE} == {"lissa"}


@pytest.mark.parametrize("name", ALONE)
def test_canaries_alone_are_as_suspect_as_among_all_others(shuffled, name):
    canaries, detector = canaries_of(shuffled), detector_of(name)
    alone, among = canaries.score(detector), detector.score(shuffled.with_planted_labels)
    assert canaries.ids.equals(shuffled.ids.take(canaries.ranks))
    np.testing.assert_allclose(alone, among[canaries.ranks], rtol=1e-6, atol=1e-9)
