"""Labels that no doubt explains are told from those that are hard to predict, with an interval that holds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from tasks.kernels.confusions import anywhere, no_confusions
from tasks.kernels.label_pools import LabelFit, fit_pools
from tasks.kernels.lapses import consensus, fit_lapses
from tasks.kernels.pools import observe, pooled, said_of

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
    fits = [fit_pools(*drawn(seed, k=k, rate=rate, frequent=frequent)).lapses for seed in range(3)]
    assert np.mean([fit.low <= rate <= fit.high for fit in fits]) >= 0.6
    assert np.mean([fit.rate for fit in fits]) == pytest.approx(rate, abs=0.01 + 0.1 * rate)


@pytest.mark.parametrize(("k", "sharpness"), [(2, 1.0), (4, 0.5)])
def test_labels_that_are_only_hard_to_predict_leave_no_rate(k, sharpness):
    lows = [fit_pools(*drawn(seed, k=k, rate=0.0, sharpness=sharpness)).lapses.low for seed in range(3)]
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
    fits = [fit_pools(*half_blank(seed, rate)).lapses for seed in range(4)]
    assert np.mean([fit.low <= rate <= fit.high for fit in fits]) >= 0.75
    assert np.mean([fit.rate for fit in fits]) == pytest.approx(rate, abs=0.025)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_labels_that_the_observers_know_nothing_of_are_no_evidence_of_a_rate(share):
    gains = []
    for seed in range(3):
        generator = np.random.default_rng(seed)
        p, votes = softmax(generator.normal(size=(2, 400, 2)))
        gains.append(fit_pools(p, votes, (generator.random(400) < share).astype(int)).lapses.gain)
    assert max(gains) < 5


def test_where_dissent_goes_tells_more_than_how_it_fades():
    """One label in ten is any other class; observers that are right have second thoughts of their own."""
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, 800)
    y = np.where(generator.random(800) < 0.1, (truth + generator.integers(1, 4, 800)) % 4, truth)
    p, votes = softmax(generator.normal(0, 1, (800, 4)) + generator.normal(0, 0.3, (2, 800, 4)) + 4 * np.eye(4)[truth])
    choice, odds = consensus(p, votes)
    fit, by_fading = fit_pools(p, votes, y).lapses, fit_lapses(odds, choice != y)
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

    bounds = [(0, 0.99), (0, 30), (0, 30), (-5, 5), (0, 15), (0, 15)]
    starts = ((0.05, 1, 1, 0, 0, 0), (0.2, 0.3, 0.3, 0, 0.3, 0.3))
    best = min(minimize(loss, start, bounds=bounds, method="L-BFGS-B").fun for start in starts)
    fit = fit_pools(p, votes, y, by_pairs=False).lapses
    assert loss((fit.rate, *np.delete(fit.curves[1], [3, 4, 5]))) == pytest.approx(best, abs=0.1)
    nothing = minimize(lambda rest: loss((0, *rest)), (0.5, 0.5, 0, 0, 0), bounds=bounds[1:], method="L-BFGS-B").fun
    assert fit.gain == pytest.approx(nothing - best, abs=0.1)


def test_an_observer_that_is_sure_of_everything_does_not_hide_what_the_other_knows():
    generator = np.random.default_rng(0)
    blind, able = softmax(generator.normal(0, (6, 2), (2000, 2)).T[:, :, None] * np.array([0.5, -0.5]))
    y = (generator.random(2000) > able[:, 0]).astype(int)
    y = np.where(generator.random(2000) < 0.1, consensus(blind, able)[0] ^ 1, y)
    fit = fit_pools(blind, able, y).lapses
    assert fit.curves[1, 0] < 0.1 < 0.7 < fit.curves[1, 1]


@settings(deadline=None, max_examples=6)
@given(st.integers(1, 40), st.integers(2, 3), st.integers(0, 99))
def test_whatever_is_counted_rates_are_shares_in_order(n, k, seed):
    generator = np.random.default_rng(seed)
    p, votes = (generator.dirichlet(np.ones(k), n).astype(np.float32) for _ in range(2))
    labels = generator.integers(0, k, n)
    fit = fit_pools(p, votes, labels)
    rate, low, high, sure, _, pools = fit.lapses
    assert 0 <= low <= sure <= rate <= high <= 1
    # Whether any label is wrong is no other question by the one end than by both.
    assert (sure == 0) == (low == 0)
    for of, pool in zip((low, rate, high, sure), pools, strict=True):
        chance = fit.chance(of, pool)
        assert ((chance >= 0) & (chance <= 1)).all()
        assert not chance[labels == consensus(p, votes)[0]].any()


def plain_fit(p, votes, labels):
    """Wrong labels go anywhere, and the observers know their confusions."""
    observed = observe(p, votes, labels, None)
    confusions = no_confusions(observed, anywhere(observed))
    nothing = fit_lapses(np.zeros((1, 1)), np.zeros(1, bool))
    return LabelFit(nothing, observed, np.arange(len(p)), confusions, by_pairs=False)


def test_the_chance_is_the_rate_against_all_that_explains_the_label():
    p, votes = np.array([[0.7, 0.2, 0.1], [0.4, 0.3, 0.3]]), np.array([[0.5, 0.5, 0.0], [0.4, 0.4, 0.2]])
    shares = np.array([0.5, 0.5, 2.5]) / 3.5  # of these labels, which are all there are, and all dissents
    fit = plain_fit(p, votes, np.array([2, 2]))
    chance = fit.chance(0.1, np.array([2.0, 1.0, 0.5, 0.0, 0.0, 0.0, 0.3, 0.6]))
    for i, h in enumerate((1, 0)):  # the first is the surer
        pool = (p[i] + 1e-3) ** (2 + 0.3 * h) * (votes[i] + 1e-2) ** (1 + 0.6 * h) * shares**0.5
        right = 0.9 * pool[2] / pool.sum()
        wrong = 0.1 * shares[2] / (1 - shares[0])
        assert chance[i] == pytest.approx(wrong / (wrong + right))
    assert fit.chance(0.0, np.zeros(8)).tolist() == [0, 0]


def test_a_label_that_nobody_thinks_of_is_likelier_wrong_than_the_second_choice():
    p = np.tile([[0.6, 0.39, 0.01]], (3, 1))
    of_first, of_second, of_last = plain_fit(p, p, np.arange(3)).chance(0.1, np.array([0.5, 0.5, *[0.0] * 6]))
    assert of_first == 0
    assert of_second < 0.5 < of_last


def one_way(seed, share, n=2000, k=4, expected=0.0):
    """(p, votes, labels, which are wrong) where so large a share of class 0 is called class 1."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, k, n)
    scores = 4 * np.eye(k)[truth] + expected * np.outer(truth == 0, np.eye(k)[1])
    p, votes = softmax(scores + generator.normal(0, 0.7, (2, n, k)))
    wrong = (truth == 0) & (generator.random(n) < share)
    return p, votes, np.where(wrong, 1, truth), wrong


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_one_class_that_is_called_another_is_seen_and_told_from_all_others(share):
    """Where wrong labels may go anywhere they are hardly seen, for all other classes have none."""
    for seed in range(3):
        p, votes, y, wrong = one_way(seed, share, expected=1.0)
        fit = fit_pools(p, votes, y)
        assert fit.by_pairs
        assert fit.lapses.low <= wrong.mean() <= fit.lapses.high
        assert fit.lapses.low > 0.4 * wrong.mean()
        chance = fit.chance(fit.lapses.rate, fit.lapses.curves[1])
        assert chance[wrong & (consensus(p, votes)[0] == 0)].mean() > 0.7
        assert chance[~wrong].mean() < 0.01


def groups(seed, power, n=5000, k=10):
    """(p, votes, labels drawn from p(y | x)) of classes in pairs, which the observers are too sure to tell apart."""
    generator = np.random.default_rng(seed)
    group, within = 4 * generator.normal(size=(n, k // 2)), 2 * generator.normal(size=(n, k))
    true = softmax(np.repeat(group, 2, 1) + within)
    labels = (true.cumsum(1) < generator.random(n)[:, None]).sum(1).clip(max=k - 1)
    said = np.repeat(group, 2, 1) + power * within + generator.normal(0, 0.2, (2, n, k))
    return *softmax(said), labels


@pytest.mark.parametrize("power", [1.0, 1.6])
def test_classes_that_are_alike_and_harder_to_tell_than_the_observers_think_are_no_wrong_labels(power):
    for seed in range(3):
        assert fit_pools(*groups(seed, power)).lapses.low < 0.002


@pytest.mark.parametrize("whole", [True, False])
def test_the_order_of_samples_changes_nothing(whole):
    """Votes are shares of a few neighbours, so that many samples look alike."""
    p, votes, y, _ = one_way(0, 0.2, expected=1.5)
    votes = votes if whole else np.round(votes, 1)
    fit, order = fit_pools(p, votes, y), np.random.default_rng(1).permutation(len(y))
    other = fit_pools(p[order], votes[order], y[order])
    chances = [each.chance(each.lapses.rate, each.lapses.curves[1]) for each in (fit, other)]
    assert fit.by_pairs
    assert chances[1] == pytest.approx(chances[0][order], abs=1e-3)


def test_rates_from_elsewhere_leave_chances_that_are_chances():
    """A third of one class is called another: of as many wrong labels of all classes it would have more than it has."""
    fit = fit_pools(*one_way(0, 0.3)[:3])
    more = fit.given(fit.lapses._replace(rate=0.9, high=0.95))
    for rate, pool in zip((0.9, 0.95), more.lapses.curves[1:3], strict=True):
        chance = more.chance(rate, pool)
        assert chance.min() >= 0
        assert chance.max() <= 1


def test_many_classes_are_read_without_their_pairs(monkeypatch):
    monkeypatch.setattr("tasks.kernels.label_pools._MOST_CLASSES", 3)
    p, votes, y, _ = one_way(0, 0.2)
    assert not fit_pools(p, votes, y).by_pairs


def test_wrong_labels_that_go_anywhere_keep_to_no_pairs():
    for seed in range(3):
        fit = fit_pools(*drawn(seed, n=2000, rate=0.15, sharpness=3.0))
        assert not fit.by_pairs
        assert fit.lapses.rate == pytest.approx(0.15, abs=0.03)


def test_log_odds_are_those_of_the_chance_and_of_any_label_that_is_asked_for():
    p, votes, y, _ = one_way(0, 0.2)
    fit, choice = fit_pools(p, votes, y), consensus(p, votes)[0]
    odds, chance = fit.log_odds(np.arange(len(y)), y), fit.chance(fit.lapses.rate, fit.lapses.curves[1])
    told = (chance > 0.01) & (chance < 0.99)
    assert odds[told] == pytest.approx(np.log(chance[told] / (1 - chance[told])), abs=1e-6)
    # Of first choices the surest is the least suspect, and another label of it is more so.
    right = np.flatnonzero((y == choice) & (y != 0))
    assert odds[right].max() < np.quantile(odds[y != choice], 0.1)
    assert (fit.log_odds(right, (choice[right] + 2) % 4) > odds[right]).all()
    some = right[::7]
    assert fit.log_odds(some, y[some]) == pytest.approx(odds[some])


def test_rates_that_are_known_from_elsewhere_get_the_pools_that_fit_best_with_them():
    p, votes, y, _ = one_way(0, 0.2, expected=1.5)
    fit = fit_pools(p, votes, y)

    said = said_of(fit.observed, fit.confusions, fit.rows)

    def loss(rate, exponents):
        pool = pooled(said, exponents)
        chance = (1 - rate * said.errors) * pool.q
        chance[: len(said.error)] += rate * said.error
        return -np.log(np.maximum(chance, 1e-12)).sum()

    elsewhere = fit.lapses._replace(low=0.5 * fit.lapses.low, rate=1.5 * fit.lapses.rate, high=2 * fit.lapses.high)
    of_elsewhere = fit.given(elsewhere).lapses
    assert of_elsewhere[:-1] == elsewhere[:-1]
    for rate, pool in zip((elsewhere.low, elsewhere.rate, elsewhere.high), of_elsewhere.curves, strict=False):
        nearby = [fit.lapses.curves[1], *(pool * factor for factor in (0.9, 1.1))]
        assert all(loss(rate, pool) < loss(rate, other) + 0.01 for other in nearby)
