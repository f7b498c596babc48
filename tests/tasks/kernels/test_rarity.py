"""Far, confirmed and suggested are what loops over samples and neighbours find."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.kernels.rarity import confirmed_neighbours, far_from_class
from tasks.kernels.suggestion import suggest_labels


@st.composite
def seen(draw):
    """votes n × k, neighbours n × j, labels and predictions of n samples."""
    generator = np.random.default_rng(draw(st.integers(0, 10**6)))
    n, k, j = draw(st.integers(2, 30)), draw(st.integers(2, 5)), draw(st.integers(1, 8))
    votes = generator.multinomial(10, np.ones(k) / k, n).astype(np.float32) / 10
    neighbours = generator.integers(0, n, (n, j)).astype(np.int32)
    return votes, neighbours, generator.integers(0, k, n), generator.integers(0, k, n)


@given(seen(), st.integers(1, 10))
def test_confirmed_neighbours_bear_the_label_and_are_recognised_by_it(drawn, nearest):
    _, neighbours, labels, predicted = drawn
    expected = [
        sum(labels[j] == labels[i] and predicted[j] == labels[i] for j in neighbours[i, :nearest])
        for i in range(len(labels))
    ]
    assert confirmed_neighbours(neighbours, labels, predicted, nearest).tolist() == expected


@given(seen(), st.sampled_from([0.0, 0.1, 0.5, 1.0]))
def test_far_is_below_a_quantile_of_those_the_network_confirms(drawn, quantile):
    votes, _, labels, predicted = drawn
    expected = []
    for i, y in enumerate(labels):
        right = [votes[j, y] for j in range(len(labels)) if labels[j] == predicted[j] == y]
        expected.append(bool(right) and bool(votes[i, y] < np.quantile(right, quantile)))
    assert far_from_class(votes, labels, predicted, quantile).tolist() == expected


@given(seen())
def test_wrong_labels_of_a_class_do_not_move_what_counts_as_far(drawn):
    votes, _, labels, predicted = drawn
    before = far_from_class(votes, labels, predicted, 0.1)
    k = votes.shape[1]
    strangers = np.zeros((50, k), np.float32)
    labels = np.append(labels, np.zeros(50, int))
    predicted = np.append(predicted, np.full(50, k - 1))
    after = far_from_class(np.concatenate([votes, strangers]), labels, predicted, 0.1)
    np.testing.assert_array_equal(after[: len(before)], before)


@given(seen(), st.integers(0, 1000))
def test_the_suggestion_is_the_best_of_the_other_classes_where_it_is_liked_better_than_the_given_one(drawn, seed):
    votes, _, labels, _ = drawn
    p = np.random.default_rng(seed).dirichlet(np.ones(votes.shape[1]), len(labels)).astype(np.float32)
    found, chance = suggest_labels(p, votes, labels)
    for i, y in enumerate(labels):
        q = (p[i].astype(float) + votes[i]) / 2
        others = [c for c in range(len(q)) if c != y]
        best = max(others, key=lambda c: q[c])
        assert found[i] == (best if q[best] > q[y] else -1)
        assert chance[i] == pytest.approx(q[best] / (1 - q[y]), abs=1e-5)


def test_a_sample_of_which_nobody_doubts_the_label_gets_no_suggestion():
    sure = np.array([[1.0, 0.0, 0.0]], np.float32)
    found, chance = suggest_labels(sure, sure, np.array([0]))
    assert (found.tolist(), chance.tolist()) == ([-1], [0.0])


def test_outputs_that_are_no_shares_of_one_whole_still_give_a_probability():
    found, chance = suggest_labels(np.array([[0.9, 0.9, 0.8]]), np.array([[0.0, 0.0, 1.0]]), np.array([0]))
    assert found.tolist() == [2]
    assert chance.tolist() == pytest.approx([0.9 / 1.35])
