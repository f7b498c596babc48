"""When a share of wrong labels is stated as a figure, and when as a range."""

from __future__ import annotations

import pytest

from tasks.scoring.diagnosis import is_point


@pytest.mark.parametrize(
    ("low", "rate", "high", "stated"),
    [
        (0.1, 0.12, 0.2, True),
        (0.0, 0.001, 0.02, True),
        (0.0, 0.0, 0.0, True),
        (0.0, 0.001, 0.021, False),
        # Few, and known to a factor of six alone.
        (0.001, 0.006, 0.012, False),
        # Wide by its lower end.
        (0.13, 0.2, 0.39, False),
        # Wide by its reach alone.
        (0.16, 0.16, 0.35, False),
        (float("nan"), float("nan"), float("nan"), False),
    ],
)
def test_a_share_is_a_figure_where_its_interval_reaches_no_further_than_twice_it(low, rate, high, stated):
    assert is_point(low, rate, high) == stated
