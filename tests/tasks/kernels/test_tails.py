"""Numbers far from the many are found whatever they do to mean and spread; a heavy tail begins at the exponential."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from tasks.kernels.tails import few_that_weigh, tail_of

NUMBERS = st.lists(st.integers(-1000, 1000), min_size=1, max_size=60)
AT = (np.arange(2000) + 0.5) / 2000


@given(NUMBERS, st.sampled_from([1, 1000, 100_000]))
def test_the_few_that_weigh_are_the_fewest_with_more_than_half_of_the_squares(drawn, typed):
    numbers = np.array([*drawn * 3, drawn[0] * typed], float)
    found = few_that_weigh(numbers)
    mean = sum(numbers) / len(numbers)
    parts = sorted(((y - mean) ** 2 for y in numbers), reverse=True)
    assume(np.abs(np.cumsum(parts) - sum(parts) / 2).min() > 1e-9 * sum(parts))  # a tie hangs on the last digit
    count, total = 0, 0.0
    while total <= sum(parts) / 2 and count < len(parts):
        total, count = total + parts[count], count + 1
    expected = count if count < 0.05 * len(numbers) and sum(parts) > 0 else 0
    assert found.sum() == expected
    assert not found.any() or ((numbers - mean) ** 2)[found].min() >= ((numbers - mean) ** 2)[~found].max()


@pytest.mark.parametrize("law", [stats.uniform(), stats.norm(), stats.expon(), stats.gamma(2), stats.laplace()])
def test_no_few_numbers_weigh_where_the_tail_is_no_heavier_than_exponential(law):
    assert not few_that_weigh(law.ppf(AT)).any()


def test_few_numbers_weigh_in_a_heavier_tail_and_among_typing_errors():
    assert 0 < few_that_weigh(stats.lognorm(1).ppf(AT)).mean() < 0.05
    prices = stats.norm(300, 80).ppf(AT)
    prices[500:540] *= 10  # the most frequent error: one zero too many
    few = few_that_weigh(prices)
    assert few[500:540].sum() == few.sum() > 0


def test_two_clusters_weigh_by_all_of_the_smaller_one_and_by_no_few():
    assert not few_that_weigh(np.r_[np.zeros(900), np.full(100, 50.0)]).any()
    assert not few_that_weigh(np.full(50, 3.0)).any()
    assert not few_that_weigh(np.empty(0)).any()


def test_far_is_beyond_ten_spreads_of_the_many_however_many_typing_errors_there_are():
    usual = stats.norm(300, 80).ppf(AT)
    typed = np.r_[usual, np.full(200, 3000.0)]
    tail = tail_of(typed, typed, 1.0)
    assert (tail.centre, tail.spread) == (pytest.approx(300, rel=0.05), pytest.approx(80, rel=0.15))
    np.testing.assert_array_equal(np.flatnonzero(tail.far), np.arange(2000, 2200))
    assert not tail_of(usual, usual, 1.0).far.any()
    assert tail_of(np.array([3000.0, 300.0]), usual, 1.0).far.tolist() == [True, False]


def test_where_most_are_one_number_the_spread_is_the_one_given():
    tail = tail_of(np.array([0.0, 8.0, 60.0]), np.r_[np.zeros(70), np.arange(30)], 5.0)
    assert (tail.spread, tail.far.tolist()) == (5.0, [False, False, True])
