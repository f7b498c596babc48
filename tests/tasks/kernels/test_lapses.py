"""Dissent that does not fade is told from dissent that does, with an interval that holds."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from tasks.kernels.lapses import _cells, _profile, consensus, fit_lapses, label_evidence, lapse_chance

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def drawn(seed, n=3000, rate=0.1, slope=1.0, offset=0.0, spread=2.0):
    """(log-odds of one observer, n × 1, dissents) of the model itself."""
    generator = np.random.default_rng(seed)
    margin = generator.normal(2, spread, n)
    return margin[:, None], generator.random(n) < rate + (1 - rate) * sigmoid(-(slope * margin + offset))


@pytest.mark.parametrize("rate", [0.02, 0.1, 0.3])
@pytest.mark.parametrize("slope", [0.8, 2.0])
def test_the_interval_holds_the_rate_that_the_dissent_was_drawn_with(rate, slope):
    fits = [fit_lapses(*drawn(seed, rate=rate, slope=slope)) for seed in range(40)]
    assert np.mean([fit.low <= rate <= fit.high for fit in fits]) >= 0.85
    assert np.mean([fit.rate for fit in fits]) == pytest.approx(rate, abs=0.01)


@pytest.mark.parametrize(("slope", "offset"), [(1.0, 0.0), (0.7, -1.0), (3.0, 0.0)])
def test_labels_that_are_only_hard_to_predict_leave_no_rate(slope, offset):
    lows = [fit_lapses(*drawn(seed, rate=0.0, slope=slope, offset=offset)).low for seed in range(40)]
    assert np.mean(np.array(lows) == 0) >= 0.95


def test_dissent_that_has_nothing_to_do_with_the_margin_is_no_evidence_of_a_rate():
    generator = np.random.default_rng(0)
    fit = fit_lapses(generator.normal(size=(800, 2)), generator.random(800) < 0.5)
    assert fit.low == 0
    assert fit.gain < 1


@pytest.mark.parametrize("seed", range(4))
def test_the_likelihood_is_as_high_as_a_general_optimiser_finds_it_sample_by_sample(seed):
    odds, dissent = drawn(seed, n=600, rate=0.08 * seed)
    margin = odds[:, 0]

    def loss(parameters):
        rate, slope, offset = parameters
        chance = np.clip(rate + (1 - rate) * sigmoid(-(slope * margin + offset)), 1e-12, 1 - 1e-12)
        return -np.where(dissent, np.log(chance), np.log(1 - chance)).sum()

    starts = [(0.05, 1.0, 0.0), (0.2, 2.0, 0.0)]
    bounds = [(0, 0.99), (0, 50), (-50, 50)]
    best = min(minimize(loss, start, bounds=bounds, method="L-BFGS-B").fun for start in starts)
    fit = fit_lapses(odds, dissent)
    assert loss((fit.rate, *fit.curves[1])) == pytest.approx(best, abs=0.1)
    assert fit.gain == pytest.approx(min(minimize(lambda p: loss((0, *p)), s[1:]).fun for s in starts) - best, abs=0.1)


def test_an_observer_that_is_sure_of_everything_does_not_hide_what_the_other_knows():
    """With one slope for both, dissent would never fade; with its own, the second observer shows that it does."""
    generator = np.random.default_rng(0)
    blind, able = generator.normal(4, 3, 5000), generator.normal(2, 2, 5000)
    dissent = generator.random(5000) < 0.1 + 0.9 * sigmoid(-1.5 * able)
    fit = fit_lapses(np.stack([blind, able], 1), dissent)
    assert fit.low <= 0.1 <= fit.high
    assert fit.high - fit.low < 0.06
    assert fit.curves[1, 0] < 0.1 < 1 < fit.curves[1, 1]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 40), st.floats(0, 1), st.integers(0, 99))
def test_whatever_is_counted_rates_are_shares_in_order(n, share, seed):
    generator = np.random.default_rng(seed)
    odds, dissent = generator.normal(size=(n, 2)), generator.random(n) < share
    fit = fit_lapses(odds, dissent)
    assert 0 <= fit.low <= fit.sure <= fit.rate <= fit.high <= 1
    # Whether any label is wrong is no other question by the one end than by both.
    assert (fit.sure == 0) == (fit.low == 0)
    for rate, curve in zip((fit.low, fit.rate, fit.high, fit.sure), fit.curves, strict=True):
        chance, surer = (lapse_chance(rate, curve, odds + more) for more in (0, 1))
        assert ((chance >= 0) & (chance <= 1)).all()
        assert (surer >= chance - 1e-12).all()  # surer, so more likely wrong


def test_the_chance_is_the_rate_against_all_dissent():
    chance = lapse_chance(0.1, np.array([2.0, 1.0]), np.array([[0.5]]))
    assert chance[0] == pytest.approx(0.1 / (0.1 + 0.9 * sigmoid(-2.0)))
    assert lapse_chance(0.0, np.zeros(2), np.zeros((3, 1))).tolist() == [0, 0, 0]


@given(st.integers(1, 20), st.integers(2, 6), st.integers(0, 99))
def test_the_consensus_is_the_product_of_both_observers_row_by_row(n, k, seed):
    generator = np.random.default_rng(seed)
    p, votes = (generator.dirichlet(np.ones(k), n).astype(np.float32) for _ in range(2))
    choice, odds = consensus(p, votes)
    for i in range(n):
        both = (p[i].astype(float) + 1e-3) * (votes[i].astype(float) + 1e-3)
        assert choice[i] == both.argmax()
        for q, least, stated in ((p[i], 1e-3, odds[i, 0]), (votes[i], 1e-2, odds[i, 1])):
            own = float(q[choice[i]])
            assert stated == pytest.approx(np.log((own + least) / (1 - own + least)), abs=1e-4)


@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1, 2], [0, 0, 0, 0, 1, 2], [0, 0, 0, 0, 0, 2], [1, 1, 1, 1, 1, 1]])
def test_the_evidence_is_measured_against_all_orders_of_the_labels(labels):
    generator = np.random.default_rng(len(set(labels)))
    p, votes = (generator.dirichlet(np.ones(3), 6) for _ in range(2))
    scores = np.log(p + 1e-3) + np.log(votes + 1e-3)
    sums = [scores[range(6), order].sum() for order in permutations(labels)]
    spread = np.sqrt(2) * np.std(sums)
    expected = (sums[0] - np.mean(sums)) / spread if len(set(labels)) > 1 else 0
    assert label_evidence(p, votes, np.array(labels)) == pytest.approx(expected)


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_neighbours_that_are_witnesses_of_one_another_are_not_taken_for_knowledge(share):
    """Without the factor 2 it is 1.4 and 1.3."""
    evidence = []
    for seed in range(300):
        generator = np.random.default_rng(seed)
        x, y = generator.normal(size=(80, 2)), (np.arange(80) < 80 * share).astype(int)
        near = np.argsort(((x[:, None] - x) ** 2).sum(2), 1)[:, 1:10]
        votes = np.eye(2)[y][near].mean(1)
        evidence.append(label_evidence(votes, votes, y))
    assert np.std(evidence) < 1.1


def test_what_is_known_of_a_class_that_is_nowhere_the_first_choice_is_evidence():
    generator = np.random.default_rng(0)
    y = (np.arange(2000) < 40).astype(int)
    rare = np.clip(0.1 + 0.1 * y + generator.normal(0, 0.05, 2000), 0.01, 0.45)
    p = np.stack([1 - rare, rare], 1)
    assert (consensus(p, p)[0] == 0).all()
    assert label_evidence(p, p, y) > 4
    assert abs(label_evidence(p, p, generator.permutation(y))) < 2


def test_observers_that_say_the_same_of_every_sample_know_nothing():
    """What rounding leaves of their scores was up to 67 standard errors."""
    for seed in range(5):
        generator = np.random.default_rng(seed)
        p, votes = (np.tile(row, (1000, 1)) for row in generator.dirichlet(np.ones(3), 2).astype(np.float32))
        assert label_evidence(p, votes, generator.integers(0, 3, 1000)) == 0


@pytest.mark.parametrize("n", [1445, 30_000])
def test_each_end_is_where_the_profile_gives_away_what_it_stands_for(n):
    """Not the next point of a grid within: that would be surer than the data are."""
    generator = np.random.default_rng(0)
    odds = np.abs(generator.normal(4, 2, (n, 2)))
    dissent = generator.random(n) < 0.1 + 0.9 / (1 + np.exp(0.8 * odds.sum(1) - 1))
    fit = fit_lapses(odds, dissent)
    means, misses, sizes = _cells(odds, dissent)
    rates = np.array([fit.rate, fit.low, fit.high, fit.sure])
    loss, _ = _profile(means.sum(1, keepdims=True), misses, sizes, rates)
    np.testing.assert_allclose(loss[1:] - loss[0], [1.92, 1.92, 1.353], atol=0.06)
