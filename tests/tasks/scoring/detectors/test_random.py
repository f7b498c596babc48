"""Chance depends on the seed and the sample's name, and on nothing else."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa

from tasks.scoring.detectors import DetectorChoice


def scores(ids, seed=0):
    return DetectorChoice.model_validate({"kind": "random", "seed": seed}).component.score(
        SimpleNamespace(ids=pa.array(ids))
    )


IDS = [f"{i:05d}" for i in range(20_000)]


def test_it_looks_at_nothing():
    assert DetectorChoice(kind="random").component.sees == ("nothing",)


def test_more_samples_change_none_of_the_scores():
    np.testing.assert_array_equal(scores(IDS[:50]), scores(IDS)[:50])


def test_scores_are_uniform_and_those_of_two_seeds_unrelated():
    one, other = scores(IDS), scores(IDS, seed=-3)
    assert one.min() >= 0
    assert one.max() < 1
    np.testing.assert_allclose(np.quantile(one, [0.1, 0.5, 0.9]), [0.1, 0.5, 0.9], atol=0.02)
    assert abs(np.corrcoef(one, other)[0, 1]) < 0.03
