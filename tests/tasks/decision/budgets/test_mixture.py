"""The mixture's points are numpy's quantiles."""

import numpy as np
import pytest

from tasks.decision.budgets.mixture import _quantiles


@pytest.mark.parametrize("n", [1, 2, 7, 1000, 30_011])
@pytest.mark.parametrize("kind", ["normal", "ties", "tails"])
def test_quantiles_of_what_rises_are_numpys_to_the_last_bit(n, kind):
    generator = np.random.default_rng(n)
    draws = {
        "normal": generator.normal(size=n),
        "ties": generator.integers(0, 9, n) / 7,
        "tails": 1e6 * generator.standard_t(1, size=n),
    }
    rising, at = np.sort(draws[kind]), (np.arange(500) + 0.5) / 500
    np.testing.assert_array_equal(_quantiles(rising, at), np.quantile(rising, at))
