"""A cut through ties is the mean over all their orders, and a curve is scikit-learn's, with fewer points."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_curve

from tasks.kernels.curves import expected_flags, precision_recall

few = st.lists(st.tuples(st.integers(0, 2), st.booleans()), min_size=1, max_size=6)
many = st.lists(st.tuples(st.integers(-3, 40), st.booleans()), min_size=1, max_size=200)


def columns(drawn):
    return np.array([float(s) for s, _ in drawn]), np.array([w for _, w in drawn])


@given(few, st.integers(-1, 8))
def test_who_is_taken_is_the_mean_over_all_orders_of_the_ties(drawn, count):
    suspicion, _ = columns(drawn)
    n = len(drawn)
    orders = [
        order
        for order in itertools.permutations(range(n))
        if all(suspicion[a] >= suspicion[b] for a, b in itertools.pairwise(order))
    ]
    tops = [[i in order[: max(count, 0)] for i in range(n)] for order in orders]
    assert expected_flags(suspicion, count) == pytest.approx(np.mean(tops, axis=0), abs=1e-12)


@given(many, st.integers(1, 500))
def test_as_many_are_taken_as_were_asked_for(drawn, count):
    suspicion, _ = columns(drawn)
    chance = expected_flags(suspicion, count)
    assert chance.sum() == pytest.approx(min(count, len(drawn)))
    assert ((chance >= 0) & (chance <= 1)).all()


@given(many, st.integers(2, 50))
def test_every_point_is_one_of_scikit_learns_and_full_recall_is_among_them(drawn, points):
    suspicion, wrong = columns(drawn)
    if not wrong.any():
        return
    recall, precision, count = precision_recall(suspicion, wrong, points)
    theirs = precision_recall_curve(wrong, suspicion)
    every = {(round(float(r), 9), round(float(p), 9)) for p, r in zip(theirs[0], theirs[1], strict=True)}
    assert {(round(float(r), 9), round(float(p), 9)) for r, p in zip(recall, precision, strict=True)} <= every
    assert 1 <= len(recall) <= points
    assert recall[-1] == 1
    assert (np.diff(count) > 0).all()
    assert (np.diff(recall) > 0).all()


def test_with_points_enough_every_threshold_that_finds_something_is_there():
    generator = np.random.default_rng(0)
    wrong = generator.random(200) < 0.2
    suspicion = generator.random(200) + wrong
    recall, _, count = precision_recall(suspicion, wrong, 500)
    assert len(recall) == wrong.sum()
    order = np.argsort(-suspicion)
    assert count.tolist() == (np.flatnonzero(wrong[order]) + 1).tolist()
