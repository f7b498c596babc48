"""Joined observers are those of a loop over samples; who errs more counts less, who is silent for nothing."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.kernels.dawid_skene import SILENT, Confusions, confusions, log_chances, log_odds_wrong

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


@st.composite
def observed(draw):
    n, k, o = draw(st.integers(1, 40)), draw(st.integers(2, 5)), draw(st.integers(1, 4))
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    return generator.integers(draw(st.sampled_from([SILENT, 0])), draw(st.integers(1, k)), (n, o)), k


def world(n=4000, k=4, errors=(0.1, 0.2, 0.3), seed=0):
    """(what observers with these shares of errors say, truth); the errors of the last go to the next class alone."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, k, n)
    step = generator.integers(1, k, (n, len(errors)))
    step[:, -1] = 1
    wrong = generator.random((n, len(errors))) < errors
    return (truth[:, None] + wrong * step) % k, truth


def by_loop(said, k):
    """(π, θ, T) sample by sample, observer by observer, without counts of rows that are alike."""
    n, o = said.shape
    chance = np.zeros((n, k))
    for i in range(n):
        for c in said[i]:
            if c != SILENT:
                chance[i, c] += 1
        if chance[i].sum() == 0:
            chance[i] = 1
        chance[i] /= chance[i].sum()
    moved = np.inf
    for _ in range(201):
        shares, tables = np.full(k, 1 / k), np.full((o, k, k), 1 / k)
        for i in range(n):
            shares += chance[i]
            for which, c in enumerate(said[i]):
                if c != SILENT:
                    tables[which, :, c] += chance[i]
        shares, tables = shares / shares.sum(), tables / tables.sum(2, keepdims=True)
        if moved < 1e-4:
            break
        before, chance = chance, np.empty((n, k))
        for i in range(n):
            p = shares.copy()
            for which, c in enumerate(said[i]):
                if c != SILENT:
                    p = p * tables[which, :, c]
            chance[i] = p / p.sum()
        moved = np.abs(chance - before).max()
    return shares, tables


@settings(deadline=None, max_examples=40)
@given(observed())
def test_what_is_learned_is_what_a_loop_over_samples_learns(drawn):
    said, k = drawn
    learned, (shares, tables) = confusions(said, k), by_loop(said, k)
    np.testing.assert_allclose(learned.shares, shares, rtol=1e-6)
    np.testing.assert_allclose(learned.chances, tables, rtol=1e-6)


@settings(deadline=None)
@given(observed())
def test_chances_sum_to_one_and_odds_are_finite_whatever_was_said(drawn):
    said, k = drawn
    learned = confusions(said, k)
    np.testing.assert_allclose(np.exp(log_chances(said, learned)).sum(1), 1)
    for label in range(k):
        assert np.isfinite(log_odds_wrong(said, learned, np.full(len(said), label))).all()


def test_odds_are_those_of_the_chances():
    said, _ = world(300)
    learned, labels = confusions(said, 4), said[:, 2]
    chance = np.exp(log_chances(said, learned))[np.arange(300), labels]
    np.testing.assert_allclose(
        log_odds_wrong(said, learned, labels), np.log((1 - chance) / chance), rtol=1e-6, atol=1e-8
    )


def test_the_share_of_errors_of_each_observer_is_found():
    said, truth = world()
    learned = confusions(said, 4)
    right = np.diagonal(learned.chances, axis1=1, axis2=2).mean(1)
    np.testing.assert_allclose(right, (said == truth[:, None]).mean(0), atol=0.03)
    np.testing.assert_allclose(learned.shares, 0.25, atol=0.03)


def test_one_good_observer_outweighs_two_that_err_often_and_wrong_labels_come_first():
    said, truth = world(errors=(0.02, 0.5, 0.45))
    odds = log_odds_wrong(said, confusions(said, 4), said[:, 2])
    wrong = said[:, 2] != truth
    assert np.median(odds[wrong]) > 0 > np.median(odds[~wrong])
    assert ((odds > 0) == wrong).mean() > 0.95


def test_an_observer_that_is_silent_everywhere_changes_no_odds():
    said, _ = world(500)
    more = np.concatenate([said, np.full((500, 1), SILENT)], 1)
    np.testing.assert_allclose(
        log_odds_wrong(more, confusions(more, 4), said[:, 2]), log_odds_wrong(said, confusions(said, 4), said[:, 2])
    )


def test_a_pair_that_was_never_seen_is_unlikely_and_not_impossible():
    said = np.zeros((100, 3), int)
    learned = confusions(said, 2)
    odds = log_odds_wrong(np.array([[0, 0, 0], [1, 1, 0]]), learned, np.array([0, 0]))
    assert np.isfinite(odds).all()
    assert odds[1] > odds[0]
    assert isinstance(learned, Confusions)
