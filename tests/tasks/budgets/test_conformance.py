"""Every budget gives a count within the samples there are, whatever their order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.budgets import BUDGETS, BudgetChoice
from tasks.budgets.share import Share

CASES = {"share": [{"share": 0.0}, {"share": 0.1}, {"share": 0.5}, {"share": 0.99}]}
BUILT = [(kind, options) for kind, cases in CASES.items() for options in cases]


def test_every_budget_has_a_case():
    assert set(CASES) == set(BUDGETS.parts)


@pytest.mark.parametrize(("kind", "options"), BUILT)
@pytest.mark.parametrize("n", [1, 2, 10, 999])
def test_the_count_is_a_whole_number_of_samples_in_any_order(kind, options, n):
    budget = BudgetChoice.model_validate({"kind": kind} | options).part
    suspicion = np.random.default_rng(n).random(n)
    count = budget.count(suspicion)
    assert type(count) is int
    assert 0 <= count <= n
    assert budget.count(suspicion[::-1]) == count


@given(st.floats(0, 1, exclude_max=True), st.integers(1, 3000))
def test_a_share_is_rounded_to_the_nearest_count(share, n):
    count = Share(share=share).count(np.zeros(n))
    assert abs(count - share * n) <= 0.5


@pytest.mark.parametrize("share", [-0.1, 1.0, 7])
def test_a_share_outside_zero_to_one_is_refused(share):
    with pytest.raises(ValidationError, match="share"):
        Share(share=share)
