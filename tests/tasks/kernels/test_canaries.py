"""A planted label is never the given one, each kind has its own shares, and every canary is also learnt as given."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from tasks.kernels.canaries import ClassVotes, planted_labels, planting_networks


@st.composite
def planted(draw):
    m, k = draw(st.integers(1, 30)), draw(st.integers(2, 6))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    labels, kinds = generator.integers(0, k, m), generator.integers(0, 3, m)
    votes = generator.dirichlet(np.full(k, 0.3), m).astype(np.float32)
    confusion = generator.dirichlet(np.full(k, 0.3), k)[labels]
    edge = draw(st.sampled_from([None, 0.0, 1 - 2**-53]))
    return labels, votes, confusion, kinds, generator.random(m) if edge is None else np.full(m, edge)


def by_loop(labels, votes, confusion, kinds, draw):
    found = []
    for y, vote, usual, kind, u in zip(labels, votes, confusion, kinds, draw, strict=True):
        weights = [[1.0, usual[c] + 1e-3, float(vote[c]) + 1e-3][kind] for c in range(votes.shape[1])]
        weights[y] = 0.0
        passed = [c for c in range(len(weights)) if sum(weights[: c + 1]) > u * sum(weights)]
        found.append(passed[0])
    return found


@settings(deadline=None)
@given(planted())
def test_a_planted_label_is_another_class_drawn_by_weight(drawn):
    labels, *_, draw = drawn
    found = planted_labels(*drawn)
    assert (found != labels).all()
    assert found.min() >= 0
    assert found.max() < drawn[1].shape[1]
    if draw.max() < 1 - 2**-53:
        assert (found == by_loop(*drawn)).mean() > 0.9  # but for rounding at the edges


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_each_kind_of_canary_takes_its_labels_in_its_own_proportions(kind):
    m, given_class = 20_000, 1
    confusion = np.tile(np.array([0.3, 0.5, 0.2, 0.0]), (m, 1))
    votes = np.tile(np.array([0.1, 0.2, 0.2, 0.5], np.float32), (m, 1))
    found = planted_labels(np.full(m, given_class), votes, confusion, np.full(m, kind), (np.arange(m) + 0.5) / m)
    weights = [np.ones(4), confusion[0] + 1e-3, votes[0] + 1e-3][kind].astype(float)
    weights[given_class] = 0
    np.testing.assert_allclose(np.bincount(found, minlength=4) / m, weights / weights.sum(), atol=1e-3)


def test_two_classes_leave_no_choice():
    labels = np.array([0, 1, 0])
    votes = np.array([[1, 0], [0, 1], [0.5, 0.5]], np.float32)
    for kind in range(3):
        assert planted_labels(labels, votes, np.eye(2)[labels], np.full(3, kind), np.full(3, 0.99)).tolist() == [
            1,
            0,
            1,
        ]


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(2, 5), st.integers(0, 999))
def test_confusion_is_the_mean_of_a_class_votes_and_a_class_without_samples_is_itself(n, k, seed):
    generator = np.random.default_rng(seed)
    labels, votes = generator.integers(0, k, n), generator.random((n, k)).astype(np.float32)
    wanted = generator.integers(0, k, 7)
    means = ClassVotes(wanted, k)
    for first in range(0, n, 9):  # piece by piece
        means.add(labels[first : first + 9], votes[first : first + 9])
    for c, found in zip(wanted, means.means(), strict=True):
        mine = votes[labels == c].astype(float)
        np.testing.assert_allclose(found, mine.mean(0) if len(mine) else np.eye(k)[c], rtol=1e-5)


def test_of_many_classes_no_more_votes_are_held_than_are_wanted():
    means = ClassVotes(np.array([7, 7, 9_999]), 10_000)
    means.add(np.array([7, 3]), np.ones((2, 10_000), np.float32))
    assert means.sums.shape == (2, 10_000)
    assert means.means().sum(1).tolist() == [10_000, 10_000, 1]


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 30), st.integers(0, 999))
def test_a_canary_is_planted_in_just_under_half_of_the_networks_that_see_it_and_never_in_its_own(folds, m, seed):
    generator = np.random.default_rng(seed)
    fold, draws = generator.integers(0, folds, m), generator.random((m, folds))
    found = planting_networks(fold, draws)
    assert (found.sum(1) == (folds - 1) // 2).all()
    assert not found[np.arange(m), fold].any()
    if folds >= 3:
        # Both ways of seeing it: planted by some, as given by others.
        assert found.any(1).all()
        assert (folds - 1 - found.sum(1) >= 1).all()
    else:
        assert not found.any()
    for row, own, chosen in zip(draws, fold, found, strict=True):
        others = sorted((u, f) for f, u in enumerate(row) if f != own)
        assert sorted(np.flatnonzero(chosen)) == sorted(f for _, f in others[: (folds - 1) // 2])


def test_rows_of_another_kind_are_refused():
    with pytest.raises(TypeCheckError):
        planting_networks(np.zeros(3, np.int64), np.zeros((2, 3)))
    with pytest.raises(TypeCheckError):
        ClassVotes(np.zeros(3, np.int64), 2).add(np.zeros(3), np.zeros((3, 2)))
