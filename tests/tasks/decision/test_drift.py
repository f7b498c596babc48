"""New samples are compared with those before them: alarmed where both differ surely and much, and else not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.training.drift_policy import DriftPolicy

N, NEW = 2000, 200


def judged(shift: float, new: int = NEW, seed: int = 0):
    generator = np.random.default_rng(seed)
    suspicion = generator.normal(size=N)
    later = np.arange(N) >= N - new
    suspicion[later] += shift
    return DriftPolicy().compare(suspicion, suspicion > 1.5, later)


def test_more_suspect_samples_than_before_are_a_drift():
    found = judged(1.0)
    assert found["alarm"]
    assert found["share_flagged"]["new"] > 2 * found["share_flagged"]["settled"]
    assert found["p_value"] < 1e-6
    assert "200 are new" in found["sentence"]
    assert "have drifted" in found["sentence"]


def test_less_suspect_ones_are_a_drift_as_well():
    assert judged(-1.0)["alarm"]


def test_samples_like_those_before_them_raise_no_alarm():
    """At level .001 one night in a thousand may; none of these hundred does."""
    assert [seed for seed in range(100) if judged(0.0, seed=seed)["alarm"]] == []


def test_the_distance_is_the_largest_between_the_two_distribution_functions():
    generator = np.random.default_rng(1)
    suspicion, new = generator.normal(size=300), np.arange(300) % 3 == 0
    at = np.sort(suspicion)
    own, other = ((suspicion[who][:, None] <= at).mean(0) for who in (new, ~new))
    assert DriftPolicy().compare(suspicion, new, new)["distance"] == pytest.approx(np.abs(own - other).max())


def test_a_sure_but_small_shift_is_no_alarm():
    generator = np.random.default_rng(2)
    suspicion, new = generator.normal(size=200_000), np.arange(200_000) % 2 == 0
    suspicion[new] += 0.05
    assert DriftPolicy().compare(suspicion, new, new)["p_value"] < 1e-6
    assert not DriftPolicy().compare(suspicion, new, new)["alarm"]


@given(st.integers(0, 29))
def test_too_few_new_samples_are_not_judged(new):
    found = judged(5.0, new=new)
    assert (found["alarm"], found["distance"], found["new"]) == (False, None, new)
    assert ("none is new" if not new else "too few to judge") in found["sentence"]
