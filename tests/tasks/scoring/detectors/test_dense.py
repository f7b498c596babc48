"""The matrix of gradients is what they are, or a projection of it, and never larger than it may be."""

import numpy as np
import pytest
import torch

from tasks.core.errors import BadArtefact
from tasks.gradients.shards import GradientShards
from tasks.kernels.projections import Projection
from tasks.scoring.detectors import DETECTORS, DetectorChoice
from tasks.scoring.detectors.dense import within
from tasks.scoring.detectors.pyod import PyOD
from tasks.scoring.evidence import Evidence

N, P = 180, 21
DENSE = [{"kind": "pyod", "detector": "ECOD"}, {"kind": "ocsvm"}]


def knn(**options):
    return PyOD(detector="KNN", **options)


def test_the_base_class_is_no_detector():
    assert "dense" not in DETECTORS.components


def test_gradients_no_longer_than_the_width_are_left_as_they_are(shuffled):
    expected = shuffled.gradients.dense(1 << 20)
    np.testing.assert_array_equal(knn().matrix(shuffled.gradients), expected)
    np.testing.assert_array_equal(knn(width=P).matrix(shuffled.gradients), expected)


def test_longer_ones_are_projected_row_by_row(shuffled):
    dense = torch.from_numpy(shuffled.gradients.dense(1 << 20))
    twin = torch.zeros(N, 5)
    Projection("countsketch", 5, 3, torch.device("cpu")).add("gradient", dense, twin)
    np.testing.assert_allclose(knn(width=5, seed=3).matrix(shuffled.gradients), twin.numpy(), rtol=1e-6)


def test_projections_keep_inner_products_in_expectation(evidence):
    dense = evidence.gradients.dense(1 << 20)
    sketches = [knn(width=8, seed=seed).matrix(evidence.gradients) for seed in range(200)]
    expected = dense @ dense.T
    found = np.mean([sketch @ sketch.T for sketch in sketches], 0)
    assert np.abs(found - expected).max() < 0.2 * np.abs(expected).max()
    assert np.corrcoef(found.ravel(), expected.ravel())[0, 1] > 0.99


@pytest.mark.parametrize("width", [None, 5])
def test_some_samples_come_in_the_order_they_are_named(shuffled, width):
    whole = knn(width=width).matrix(shuffled.gradients)
    ranks = np.array([90, 3, 71, 4, 179])
    np.testing.assert_array_equal(knn(width=width).matrix(shuffled.gradients, ranks), whole[ranks])


def test_normalised_rows_have_unit_length_and_nothing_stays_nothing():
    rows = np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)
    np.testing.assert_allclose(knn(on="normalised")._scale(rows), [[0.6, 0.8], [0, 0]])
    assert knn()._scale(rows) is rows


@pytest.mark.parametrize("options", DENSE)
def test_a_matrix_over_the_runs_memory_is_refused_with_its_size_and_a_width_makes_it_fit(
    evidence, options, monkeypatch
):
    evidence = Evidence(evidence.run.model_copy(update={"memory_gib": 4 * N * 7 / 2**30}), evidence.crossfit)
    part = DetectorChoice.model_validate(options).component
    with pytest.raises(BadArtefact, match=rf"{part.name}, option memory-gib: .*{N} × {P} float32 = .*Lower .* width"):
        part.score(evidence)
    # The n × p matrix is never built.
    monkeypatch.delattr(GradientShards, "dense")
    assert np.isfinite(part.model_copy(update={"width": 7}).score(evidence)).all()


def test_the_width_is_by_default_what_the_detector_affords():
    assert [PyOD(detector=name).affordable for name in ("IForest", "HBOS", "ECOD", "ROD")] == [5130, 5130, 256, 10]
    assert DetectorChoice(kind="ocsvm").component.affordable == 128


def test_within_a_group_scores_are_counted_from_its_median_in_interquartile_ranges():
    scores = np.array([0.0, 1, 2, 3, 4, 100, 110, 120, 130, 240])
    groups = np.repeat([0, 1], 5)
    np.testing.assert_allclose(within(scores, groups, 2), [-1, -0.5, 0, 0.5, 1, -1, -0.5, 0, 0.5, 6])


def test_small_and_constant_groups_are_in_the_middle():
    scores = np.array([5.0, 9, 7, 7, 7, 7, 7, 7, 7, 8])
    groups = np.array([0, 0, 1, 1, 1, 2, 2, 2, 2, 2])
    found = within(scores, groups, 3)
    np.testing.assert_array_equal(found[:9], 0)
    # Quartiles that coincide: the standard deviation takes their place.
    assert found[9] == pytest.approx(1 / np.std([7, 7, 7, 7, 8]))


@pytest.mark.parametrize("by", ["class", "fold"])
def test_each_group_is_fitted_as_if_there_were_no_other(evidence, by):
    suspicion = knn(by=by).score(evidence)
    groups = evidence.labels if by == "class" else evidence.folds
    matrix = evidence.gradients.dense(1 << 20)
    for group in np.unique(groups):
        own = knn()._fit(matrix[groups == group], np.ones((groups == group).sum(), bool), "")
        np.testing.assert_allclose(suspicion[groups == group], within(own, np.zeros(len(own)), 2))


def test_groups_too_small_to_be_fitted_are_neutral(evidence):
    assert (knn(by="fold", least=61).score(evidence) == 0).all()
    # More neighbours than there are samples would be an error.
    assert (knn(by="fold", least=61, parameters={"n_neighbors": 200}).score(evidence) == 0).all()
