"""Paired differences are those of a loop over seeds and samples; their interval is the bootstrap's."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tasks.kernels.paired import bootstrap, percentile_interval, seed_differences, weighted_means

SHAPES = st.tuples(st.integers(1, 6), st.integers(1, 30))


def pairs(draw_shape=SHAPES):
    return draw_shape.flatmap(lambda shape: st.tuples(arrays(bool, shape), arrays(bool, shape)))


def correct(seeds, samples, accuracy, seed=0):
    return np.random.default_rng(seed).random((seeds, samples)) < accuracy


def naive_bootstrap(treated, control, generator, replicates):
    """One replicate at a time, one draw at a time."""
    s, n = treated.shape
    found = []
    for _ in range(replicates):
        rows, columns = generator.integers(s, size=s), generator.integers(n, size=n)
        total = 0
        for i in rows:
            for j in columns:
                total += int(treated[i, j]) - int(control[i, j])
        found.append(total / (s * n))
    return np.array(found)


@given(pairs())
def test_differences_are_those_of_a_loop(both):
    treated, control = both
    by_loop = [
        sum(int(t) - int(c) for t, c in zip(a, b, strict=True)) / len(a) for a, b in zip(treated, control, strict=True)
    ]
    np.testing.assert_allclose(seed_differences(treated, control), by_loop, rtol=1e-12)


@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 4), st.integers(0, 99))
def test_weighted_means_are_those_of_four_loops(s, u, r, seed):
    generator = np.random.default_rng(seed)
    differences = generator.integers(-1, 2, (s, u))
    seeds = generator.multinomial(s, np.full(s, 1 / s), size=r)
    samples = generator.multinomial(50, np.full(u, 1 / u), size=r)
    by_loop = []
    for a, b in zip(seeds, samples, strict=True):
        drawn = [differences[i, j] for i in range(s) for _ in range(a[i]) for j in range(u) for _ in range(b[j])]
        by_loop.append(sum(drawn) / len(drawn))
    np.testing.assert_allclose(weighted_means(differences, seeds, samples), by_loop, atol=1e-12)


def test_the_bootstrap_is_distributed_as_the_naive_one():
    shared = np.random.default_rng(3).random(40)
    treated = (shared + 0.3 * np.random.default_rng(4).random((4, 40))) < 0.9
    control = (shared + 0.5 * np.random.default_rng(5).random((4, 40))) < 0.9
    fast = bootstrap(treated, control, np.random.default_rng(0), 4000)
    slow = naive_bootstrap(treated, control, np.random.default_rng(1), 1500)
    assert fast.mean() == pytest.approx(slow.mean(), abs=5 * slow.std() / 1500**0.5)
    assert fast.std() == pytest.approx(slow.std(), rel=0.1)
    np.testing.assert_allclose(percentile_interval(fast), percentile_interval(slow), atol=0.15 * np.ptp(slow))


def test_a_bootstrap_of_samples_alone_has_the_binomial_spread():
    treated, control = correct(1, 400, 0.6), np.zeros((1, 400), bool)
    p = treated.mean()
    found = bootstrap(treated, control, np.random.default_rng(0), 8000)
    assert found.std() == pytest.approx((p * (1 - p) / 400) ** 0.5, rel=0.05)


def test_seeds_are_drawn_too():
    treated = np.repeat([[True], [False]], 50, axis=1)
    found = bootstrap(treated, np.zeros((2, 50), bool), np.random.default_rng(0), 4000)
    assert {0.0, 0.5, 1.0} == set(found)
    assert (found == 0.5).mean() == pytest.approx(0.5, abs=0.05)


@given(pairs(), st.integers(0, 9))
def test_swapped_arms_turn_the_sign_and_equal_arms_differ_by_nothing(both, seed):
    treated, control = both
    one = bootstrap(treated, control, np.random.default_rng(seed), 50)
    assert (np.abs(one) <= 1).all()
    assert not bootstrap(treated, treated, np.random.default_rng(seed), 50).any()
    assert seed_differences(control, treated) == pytest.approx(-seed_differences(treated, control))


def test_the_draws_repeat_by_seed_whatever_is_held_at_a_time(monkeypatch):
    treated, control = correct(3, 60, 0.8), correct(3, 60, 0.7, seed=1)
    first = bootstrap(treated, control, np.random.default_rng(7))
    np.testing.assert_array_equal(first, bootstrap(treated, control, np.random.default_rng(7)))
    monkeypatch.setattr("tasks.kernels.paired._AT_A_TIME", 64)
    assert bootstrap(treated, control, np.random.default_rng(7), 300).std() == pytest.approx(first.std(), rel=0.2)


def test_a_hundred_thousand_samples_under_twenty_seeds_take_seconds():
    shared = np.random.default_rng(0).random(100_000)
    treated = shared + 0.05 * np.random.default_rng(1).random((20, 100_000)) < 0.9
    control = shared + 0.05 * np.random.default_rng(2).random((20, 100_000)) < 0.89
    began = time.monotonic()
    bootstrap(treated, control, np.random.default_rng(0))
    assert time.monotonic() - began < 60
