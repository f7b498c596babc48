"""When a share of wrong labels is stated as a figure, and when as a range; what is said of numbers far out."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.kernels.tails import tail_of
from tasks.scoring.diagnosis import diagnose_tail, is_point


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


def tail(numbers):
    numbers = np.asarray(numbers, float)
    return tail_of(numbers, numbers, 1.0)


def test_numbers_far_from_the_others_are_told_in_figures_and_called_an_error_or_a_heavy_tail():
    said = diagnose_tail(tail([*range(1, 200), 5000.0, 3000.0]), stated=True)
    assert (said.subject, said.passed) == ("far labels", False)
    assert said.text == (
        "2 of 201 training labels lie more than ten spreads of 74.13 from the median of 101 (the farthest is 5,000): "
        "typing errors or a heavy tail, and 97% of the squares that R² counts; the range of wrong labels takes all of "
        'them into its upper end; look at these first (gradsieve sql "SELECT source, source_row, split, label FROM '
        "samples WHERE run_id = 'RUN_ID' AND TRY_CAST(label AS DOUBLE) NOT BETWEEN -640.3 AND 842.3\"), or take "
        "logarithms of the column"
    )
    assert "upper end" not in diagnose_tail(tail([*range(1, 200), 5000.0]), stated=False).text


def test_logarithms_are_advised_of_positive_numbers_alone():
    assert diagnose_tail(tail([*range(200), 5000.0]), stated=True).text.endswith('")')


def test_a_heavy_tail_is_no_typing_error_as_a_fact():
    said = diagnose_tail(tail(np.exp(np.random.default_rng(0).normal(size=2000))), stated=True)
    assert not said.passed
    assert "typing errors or a heavy tail" in said.text


def test_numbers_without_far_ones_pass():
    said = diagnose_tail(tail(np.random.default_rng(0).normal(300, 80, 2000)), stated=True)
    assert said.passed
    assert said.text.startswith("no training label lies more than ten spreads of ")
