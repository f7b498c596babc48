"""Labels that no doubt explains are told from those that are hard to predict, with an interval that holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from tasks.kernels import label_pools
from tasks.kernels.label_pools import _pooled, _said, fit_pools, pool_chance
from tasks.kernels.lapses import consensus, fit_lapses

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def sureness(p, votes):
    """h: the sum of both observers' log-odds of the first choice, from its 1 % to its 99 % quantile."""
    together = consensus(p, votes)[1].sum(1)
    low, high = np.quantile(together, [0.01, 0.99])
    return np.clip((together - low) / max(high - low, 1e-9), 0, 1)


def drawn(seed, n=500, k=4, rate=0.1, sharpness=2.0, frequent=0.0):
    """(p, votes, labels) of the model itself: labels drawn from √(p v), then so many wrong ones."""
    generator = np.random.default_rng(seed)
    scores = sharpness * generator.normal(size=(2, n, k))
    scores[..., 0] += frequent
    p, votes = softmax(scores.sum(0) + 0.5 * scores)
    pool = softmax(0.5 * np.log(p + 1e-3) + 0.5 * np.log(votes + 1e-2))
    y = (pool.cumsum(1) < generator.random(n)[:, None]).sum(1).clip(max=k - 1)
    wrong, other = generator.random(n) < rate, (consensus(p, votes)[0] + generator.integers(1, k, n)) % k
    return p, votes, np.where(wrong, other, y)


@pytest.mark.parametrize(("k", "rate", "frequent"), [(2, 0.1, 0.0), (4, 0.3, 2.0)])
def test_the_interval_holds_the_rate_that_the_labels_were_drawn_with(k, rate, frequent):
    fits = [fit_pools(*drawn(seed, k=k, rate=rate, frequent=frequent)) for seed in range(3)]
    assert np.mean([fit.low <= rate <= fit.high for fit in fits]) >= 0.6
    assert np.mean([fit.rate for fit in fits]) == pytest.approx(rate, abs=0.01 + 0.1 * rate)


@pytest.mark.parametrize(("k", "sharpness"), [(2, 1.0), (4, 0.5)])
def test_labels_that_are_only_hard_to_predict_leave_no_rate(k, sharpness):
    lows = [fit_pools(*drawn(seed, k=k, rate=0.0, sharpness=sharpness)).low for seed in range(3)]
    assert np.mean(np.array(lows) == 0) >= 0.6


def half_blank(seed, rate, n=1500, k=5):
    """(p, votes, labels) where every second input says nothing, and what it is taken for is taken with confidence."""
    generator = np.random.default_rng(seed)
    truth, blank = generator.choice(k, n, p=np.arange(k, 0, -1) / 15), np.arange(n) % 2 == 0
    signs = np.where(blank[:, None], 0.0, 2.2 * np.eye(k)[truth])
    doubt = np.where(blank, 1.0, 0.3)[:, None] * generator.normal(size=(2, n, k))
    p, votes = softmax(signs + np.log(np.arange(k, 0, -1)) + doubt)
    wrong = generator.random(n) < rate
    return p, votes, np.where(wrong, (truth + generator.integers(1, k, n)) % k, truth)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.2])
def test_inputs_that_say_nothing_beside_others_that_say_much_are_not_taken_for_wrong_labels(rate):
    fits = [fit_pools(*half_blank(seed, rate)) for seed in range(4)]
    assert np.mean([fit.low <= rate <= fit.high for fit in fits]) >= 0.75
    assert np.mean([fit.rate for fit in fits]) == pytest.approx(rate, abs=0.025)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_labels_that_the_observers_know_nothing_of_are_no_evidence_of_a_rate(share):
    gains = []
    for seed in range(3):
        generator = np.random.default_rng(seed)
        p, votes = softmax(generator.normal(size=(2, 400, 2)))
        gains.append(fit_pools(p, votes, (generator.random(400) < share).astype(int)).gain)
    assert max(gains) < 5


def test_where_dissent_goes_tells_more_than_how_it_fades():
    """One label in ten is any other class; observers that are right have second thoughts of their own."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, 800)
    y = np.where(generator.random(800) < 0.1, (truth + generator.integers(1, 4, 800)) % 4, truth)
    p, votes = softmax(generator.normal(0, 1, (800, 4)) + generator.normal(0, 0.3, (2, 800, 4)) + 4 * np.eye(4)[truth])
    choice, odds = consensus(p, votes)
    fit, by_fading = fit_pools(p, votes, y), fit_lapses(odds, choice != y)
    assert fit.low < (y != truth).mean() < fit.high
    assert fit.high - fit.low < 0.9 * (by_fading.high - by_fading.low)


@pytest.mark.parametrize("seed", range(2))
def test_the_likelihood_is_as_high_as_a_general_optimiser_finds_it(seed):
    p, votes, y = drawn(seed, n=400, k=3, rate=0.08 * seed, frequent=1.0)
    shares = (np.bincount(y, minlength=3) + 0.5) / (len(y) + 1.5)
    rows, choice = np.arange(len(y)), consensus(p, votes)[0]
    dissents = (np.bincount(y[y != choice], minlength=3) + 0.5) / ((y != choice).sum() + 1.5)
    lapse = np.where(y == choice, 0, dissents[y] / (1 - dissents[choice]))
    h = sureness(p, votes)[:, None]

    def loss(parameters):
        rate, *exponents = parameters
        logs = np.log(p + 1e-3), np.log(votes + 1e-2), np.log(shares)
        logs = *logs, h * logs[0], h * logs[1]
        q = softmax(sum(exponent * log for exponent, log in zip(exponents, logs, strict=True)))
        return -np.log(np.maximum(rate * lapse + (1 - rate) * q[rows, y], 1e-12)).sum()

    bounds = [(0, 0.99), (0, 30), (0, 30), (-5, 5), (0, 30), (0, 30)]
    starts = ((0.05, 1, 1, 0, 0, 0), (0.2, 0.3, 0.3, 0, 0.3, 0.3))
    best = min(minimize(loss, start, bounds=bounds, method="L-BFGS-B").fun for start in starts)
    fit = fit_pools(p, votes, y)
    assert loss((fit.rate, *fit.curves[1])) == pytest.approx(best, abs=0.1)
    nothing = minimize(lambda rest: loss((0, *rest)), (0.5, 0.5, 0, 0, 0), bounds=bounds[1:], method="L-BFGS-B").fun
    assert fit.gain == pytest.approx(nothing - best, abs=0.1)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize(
    "exponents", [(0.7, 1.5, -0.5, 0.4, 0.9), (30.0, 0.0, 5.0, 30.0, 0.0), (0.0, 30.0, -5.0, 0.0, 30.0)]
)
def test_the_pool_and_its_slopes_are_the_same_in_blocks_as_class_by_class(monkeypatch, k, exponents):
    p, votes, y = drawn(0, n=31, k=max(k, 2), sharpness=6.0)
    p, votes, y = p[:, :k], votes[:, :k], np.minimum(y, k - 1)
    choice = consensus(p, votes)[0]
    rows = np.argsort(y == choice, kind="stable")
    monkeypatch.setattr(label_pools, "_BLOCK", 5 * k)
    h = np.linspace(0, 1, len(y))
    said = _said(p, votes, y, choice, h, rows, np.ones(len(y), bool))
    pool = _pooled(said, np.array(exponents, float))
    assert len(said.logs) > 2
    shares = (np.bincount(y, minlength=k) + 0.5) / (len(y) + 0.5 * k)
    for place, i in enumerate(rows):
        logs = np.stack([np.log(p[i] + 1e-3), np.log(votes[i] + 1e-2), np.log(shares)])
        logs = np.vstack([logs, h[i] * logs[:2]])
        q = softmax(np.array(exponents) @ logs)
        assert pool.q[place] == pytest.approx(q[y[i]], rel=1e-9)
        assert pool.slopes[:, place] == pytest.approx(logs[:, y[i]] - logs @ q, rel=1e-9, abs=1e-9)


def test_an_observer_that_is_sure_of_everything_does_not_hide_what_the_other_knows():
    generator = np.random.default_rng(0)
    blind, able = softmax(generator.normal(0, (6, 2), (2000, 2)).T[:, :, None] * np.array([0.5, -0.5]))
    y = (generator.random(2000) > able[:, 0]).astype(int)
    y = np.where(generator.random(2000) < 0.1, consensus(blind, able)[0] ^ 1, y)
    fit = fit_pools(blind, able, y)
    assert fit.curves[1, 0] < 0.1 < 0.7 < fit.curves[1, 1]


@settings(deadline=None, max_examples=6)
@given(st.integers(1, 40), st.integers(2, 3), st.integers(0, 99))
def test_whatever_is_counted_rates_are_shares_in_order(n, k, seed):
    generator = np.random.default_rng(seed)
    p, votes = (generator.dirichlet(np.ones(k), n).astype(np.float32) for _ in range(2))
    labels = generator.integers(0, k, n)
    fit = fit_pools(p, votes, labels)
    assert 0 <= fit.low <= fit.sure <= fit.rate <= fit.high <= 1
    # Whether any label is wrong is no other question by the one end than by both.
    assert (fit.sure == 0) == (fit.low == 0)
    for rate, pool in zip((fit.low, fit.rate, fit.high, fit.sure), fit.curves, strict=True):
        chance = pool_chance(rate, pool, p, votes, labels)
        assert ((chance >= 0) & (chance <= 1)).all()
        assert not chance[labels == consensus(p, votes)[0]].any()


def test_the_chance_is_the_rate_against_all_that_explains_the_label():
    p, votes = np.array([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]]), np.array([[0.5, 0.5, 0.0], [0.4, 0.4, 0.2]])
    labels = np.array([2, 2])
    shares = np.array([0.5, 0.5, 2.5]) / 3.5  # of these labels, which are all there are, and all dissents
    chance = pool_chance(0.1, np.array([2.0, 1.0, 0.5, 0.3, 0.6]), p, votes, labels)
    for i, h in enumerate((1, 0)):  # the first is the surer
        pool = (p[i] + 1e-3) ** (2 + 0.3 * h) * (votes[i] + 1e-2) ** (1 + 0.6 * h) * shares**0.5
        right = 0.9 * pool[2] / pool.sum()
        wrong = 0.1 * shares[2] / (1 - shares[0])
        assert chance[i] == pytest.approx(wrong / (wrong + right))
    assert pool_chance(0.0, np.zeros(5), p, votes, labels).tolist() == [0, 0]


def test_a_label_that_nobody_thinks_of_is_likelier_wrong_than_the_second_choice():
    p = np.tile([[0.6, 0.39, 0.01]], (3, 1))
    of_first, of_second, of_last = pool_chance(0.1, np.array([0.5, 0.5, 0.0, 0.0, 0.0]), p, p, np.arange(3))
    assert of_first == 0
    assert of_second < 0.5 < of_last
