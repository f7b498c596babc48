"""The calibration error is what a loop over bins counts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.kernels.calibration import calibration_error


def by_loop(confidence, right, bins):
    total = 0.0
    for m in range(1, bins + 1):
        inside = [i for i, p in enumerate(confidence) if max(1, math.ceil(p * bins)) == m]
        if inside:
            accuracy = sum(bool(right[i]) for i in inside) / len(inside)
            mean = sum(float(confidence[i]) for i in inside) / len(inside)
            total += len(inside) / len(confidence) * abs(accuracy - mean)
    return total


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.integers(1, 20))
def test_it_is_the_loop_over_bins(rows, bins):
    confidence, right = np.array([p for p, _ in rows]), np.array([r for _, r in rows])
    assert calibration_error(confidence, right, bins) == pytest.approx(by_loop(confidence, right, bins), abs=1e-12)


def test_a_network_as_often_right_as_it_says_has_none_and_a_boaster_has_much():
    generator = np.random.default_rng(0)
    confidence = generator.uniform(0.3, 1, 50_000)
    assert calibration_error(confidence, generator.random(50_000) < confidence) < 0.01
    assert calibration_error(np.ones(10), np.arange(10) < 4) == pytest.approx(0.6)


def test_of_nothing_it_is_not_a_number_and_float32_is_as_good():
    assert math.isnan(calibration_error(np.empty(0), np.empty(0, bool)))
    confidence, right = np.array([0.2, 0.9, 0.9]), np.array([False, True, False])
    assert calibration_error(confidence.astype(np.float32), right) == pytest.approx(
        calibration_error(confidence, right), abs=1e-6
    )
