"""The interval of a mean is scipy's."""

import numpy as np
import pytest
from scipy import stats

from tasks.core.intervals import t_interval


@pytest.mark.parametrize(("size", "level"), [(2, 0.95), (6, 0.95), (40, 0.9)])
def test_it_is_scipys(size, level):
    values = np.random.default_rng(size).normal(size=size)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(level)
    assert t_interval(values, level) == pytest.approx((expected.low, expected.high))


def test_one_value_has_none_and_values_that_agree_one_without_width():
    assert t_interval(np.array([0.1])) is None
    assert t_interval(np.array([0.04, 0.04, 0.04])) == pytest.approx((0.04, 0.04), abs=1e-15)
