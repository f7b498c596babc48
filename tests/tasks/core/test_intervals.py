"""The interval of a mean is scipy's."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from tasks.core.intervals import t_interval, t_quantile


@pytest.mark.parametrize(("size", "level"), [(2, 0.95), (6, 0.95), (40, 0.9)])
def test_it_is_scipys(size, level):
    values = np.random.default_rng(size).normal(size=size)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(level)
    assert t_interval(values, level) == pytest.approx((expected.low, expected.high))


def test_one_value_has_none_and_values_that_agree_one_without_width():
    assert t_interval(np.array([0.1])) is None
    assert t_interval(np.array([0.04, 0.04, 0.04])) == pytest.approx((0.04, 0.04), abs=1e-15)


@pytest.mark.parametrize("degrees", [1, 2, 3, 4, 5, 9, 30, 101, 1000])
@pytest.mark.parametrize("level", [0.0, 0.5, 0.95, 0.999])
def test_the_quantile_is_scipys(degrees, level):
    assert t_quantile(degrees, level) == pytest.approx(stats.t.ppf((1 + level) / 2, degrees), rel=1e-12, abs=1e-15)


def test_an_interval_waits_for_no_import_of_scipy():
    script = (
        "import sys, numpy; from tasks.core.intervals import t_interval\n"
        "t_interval(numpy.arange(5.0)); print('scipy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
