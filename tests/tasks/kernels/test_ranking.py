"""The figures are scikit-learn's, ties and all, and do not know the order of the rows."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from sklearn.metrics import average_precision_score, roc_auc_score

from tasks.kernels.ranking import average_precision, precision_at, roc_auc

# Few distinct values, so that ties are common; and a scale at which they are not.
rows = st.lists(st.tuples(st.one_of(st.integers(-2, 3).map(float), st.floats(-1e6, 1e6)), st.booleans()), min_size=1)


def columns(drawn):
    return np.array([s for s, _ in drawn]), np.array([w for _, w in drawn])


@given(rows)
def test_average_precision_is_that_of_scikit_learn(drawn):
    suspicion, wrong = columns(drawn)
    found = average_precision(suspicion, wrong)
    if wrong.any():
        assert found == pytest.approx(average_precision_score(wrong, suspicion), abs=1e-12)
    else:
        assert math.isnan(found)


@given(rows)
def test_roc_auc_is_that_of_scikit_learn(drawn):
    suspicion, wrong = columns(drawn)
    found = roc_auc(suspicion, wrong)
    if wrong.any() and not wrong.all():
        assert found == pytest.approx(roc_auc_score(wrong, suspicion), abs=1e-12)
    else:
        assert math.isnan(found)


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6), st.data())
def test_precision_at_a_count_is_the_mean_over_all_orders_of_the_ties(drawn, data):
    suspicion, wrong = np.array([float(s) for s, _ in drawn]), np.array([w for _, w in drawn])
    count = data.draw(st.integers(1, len(drawn)))
    tops = [
        np.mean([wrong[i] for i in order[:count]])
        for order in itertools.permutations(range(len(drawn)))
        if all(suspicion[a] >= suspicion[b] for a, b in itertools.pairwise(order))
    ]
    assert precision_at(suspicion, wrong, count) == pytest.approx(np.mean(tops), abs=1e-12)


def test_precision_at_none_is_not_a_number():
    assert math.isnan(precision_at(np.array([1.0, 2.0]), np.array([True, False]), 0))


@given(rows, st.randoms())
def test_the_order_of_rows_changes_nothing(drawn, random):
    suspicion, wrong = columns(drawn)
    other, other_wrong = columns(random.sample(drawn, len(drawn)))
    count = -(-len(drawn) // 3)
    assert average_precision(other, other_wrong) == pytest.approx(average_precision(suspicion, wrong), nan_ok=True)
    assert roc_auc(other, other_wrong) == pytest.approx(roc_auc(suspicion, wrong), nan_ok=True)
    assert precision_at(other, other_wrong, count) == pytest.approx(precision_at(suspicion, wrong, count))


def test_a_perfect_and_a_reversed_ranking_have_the_known_figures():
    wrong = np.array([True, True, False, False])
    assert average_precision(np.array([4.0, 3.0, 2.0, 1.0]), wrong) == 1.0
    assert roc_auc(np.array([4.0, 3.0, 2.0, 1.0]), wrong) == 1.0
    assert roc_auc(np.array([1.0, 2.0, 3.0, 4.0]), wrong) == 0.0
    assert precision_at(np.array([1.0, 2.0, 3.0, 4.0]), wrong, 2) == 0.0


@pytest.mark.parametrize("kernel", [average_precision, roc_auc, lambda s, w: precision_at(s, w, 1)])
def test_columns_of_different_lengths_and_whole_number_suspicions_are_refused(kernel):
    with pytest.raises(TypeCheckError):
        kernel(np.array([1.0, 2.0]), np.array([True]))
    with pytest.raises(TypeCheckError):
        kernel(np.array([1, 2]), np.array([True, False]))
