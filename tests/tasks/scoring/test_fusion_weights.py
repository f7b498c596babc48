"""The weights are those of the stated loss: found where its gradient is nought, never below nought; those of opinions
are those of their formula."""

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.scoring.fusion_weights import scales_of, weigh, weigh_opinions

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def data(n=200, s=3, m=20, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, s))
    chances = 1 / (1 + np.exp(-(x @ [2.0, 1.0, 0.0][:s] - 1)))
    return x, chances, generator.normal(1.0, 1.0, size=(m, s))


def stated(parameters, x, chances, canaries, canary_weight, evenness):
    """The loss as the docstring writes it, term by term."""
    *w, b = parameters

    def loss(target, row):
        p = 1 / (1 + np.exp(-(np.dot(w, row) + b)))
        return -target * np.log(p) - (1 - target) * np.log(1 - p)

    value = np.mean([loss(t, row) for t, row in zip(chances, x, strict=True)])
    if len(canaries):
        value += canary_weight * np.mean([loss(1.0, row) for row in canaries])
    return value + evenness / 2 * sum((v - np.mean(w)) ** 2 for v in w)


def told(x, chances, canaries, canary_weight, evenness, monkeypatch):
    """The function that is minimised, and where."""
    seen, real = {}, scipy.optimize.minimize

    def minimize(function, *arguments, **options):
        seen["loss"] = function
        return real(function, *arguments, **options)

    monkeypatch.setattr(scipy.optimize, "minimize", minimize)
    return seen, weigh(x, chances, canaries, canary_weight, evenness)


@pytest.mark.parametrize("m", [0, 20])
@pytest.mark.parametrize("evenness", [0.0, 0.03, 2.0])
def test_what_is_minimised_is_the_stated_loss_and_its_slope_that_of_finite_differences(m, evenness, monkeypatch):
    x, chances, canaries = data(m=m)
    seen, _ = told(x, chances, canaries, 0.2, evenness, monkeypatch)
    for at in ([0.5, 0.5, 0.5, -1.0], [0.0, 2.0, 1.0, 0.3], [3.0, 0.1, 0.2, -4.0]):
        value, slope = seen["loss"](np.array(at))
        assert value == pytest.approx(stated(at, x, chances, canaries, 0.2, evenness))
        numeric = scipy.optimize.approx_fprime(at, lambda p: stated(p, x, chances, canaries, 0.2, evenness), 1e-6)
        np.testing.assert_allclose(slope, numeric, atol=1e-5)


@pytest.mark.parametrize("evenness", [0.0, 0.03, 2.0])
def test_no_step_within_the_bounds_makes_the_loss_smaller(evenness):
    x, chances, canaries = data()
    w, b, _ = weigh(x, chances, canaries, 0.2, evenness)
    best = stated([*w, b], x, chances, canaries, 0.2, evenness)
    for axis in range(4):
        for step in (-0.05, 0.05):
            at = np.append(w, b)
            at[axis] += step
            at[:3] = np.maximum(at[:3], 0)
            assert stated(at, x, chances, canaries, 0.2, evenness) >= best - 1e-7


@settings(deadline=None)
@given(st.integers(0, 999), st.integers(1, 4), st.sampled_from([0.0, 0.03, 1.0]), st.booleans())
def test_no_weight_is_below_nought_even_for_a_signal_that_points_the_other_way(seed, s, evenness, reverse):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(60, s))
    chances = 1 / (1 + np.exp((1 if reverse else -1) * 3 * x[:, 0]))
    w, b, _ = weigh(x, chances, x[:5], 0.2, evenness)
    assert (w >= 0).all()
    assert np.isfinite([*w, b]).all()
    if reverse and s == 1:
        assert w[0] == pytest.approx(0, abs=1e-6)


def test_the_weights_that_made_the_chances_are_found():
    x, chances, _ = data(n=4000)
    w, b, _ = weigh(x, chances, x[:0], 0.2, 0.0)
    np.testing.assert_allclose([*w, b], [2, 1, 0, -1], atol=2e-2)


def test_the_more_evenness_the_more_even_the_weights():
    x, chances, canaries = data()
    spread = [np.ptp(weigh(x, chances, canaries, 0.2, evenness)[0]) for evenness in (0.0, 0.1, 1.0, 1e4, 1e8)]
    assert spread == sorted(spread, reverse=True)
    assert spread[0] > 1
    assert spread[-2] < 1e-3
    assert weigh(x, chances, canaries, 0.2, 1e4)[0][0] > 0.3


def test_a_sample_that_stands_there_twice_counts_twice():
    x, chances, canaries = data(n=100)
    twice = weigh(np.tile(x, (2, 1)), np.tile(chances, 2), np.tile(canaries, (3, 1)), 0.2, 0.03)
    once = weigh(x, chances, canaries, 0.2, 0.03)
    np.testing.assert_allclose([*twice[0], twice[1]], [*once[0], once[1]], atol=1e-3)
    # A hundred and one rows, one of them a hundred times: the same as the two kinds by weight.
    heavy = np.r_[x, np.repeat(x[:1], 99, 0)], np.r_[chances, np.repeat(chances[:1], 99)]
    found = weigh(*heavy, canaries, 0.2, 0.03)
    weights = np.r_[100.0, np.ones(99)] / 199

    def loss(parameters):
        z = x @ parameters[:3] + parameters[3]
        u, v = parameters[:3], canaries @ parameters[:3] + parameters[3]
        return (
            (weights * (np.logaddexp(0, z) - chances * z)).sum()
            + 0.2 * (np.logaddexp(0, v) - v).mean()
            + 0.015 * ((u - u.mean()) ** 2).sum()
        )

    best = scipy.optimize.minimize(loss, np.ones(4), bounds=[(0, None)] * 3 + [(None, None)]).x
    np.testing.assert_allclose([*found[0], found[1]], best, atol=5e-3)


def test_canaries_are_drawn_to_the_top_by_their_weight():
    x, chances, canaries = data()
    means = []
    for weight in (0.0, 0.2, 5.0):
        w, b, _ = weigh(x, chances, canaries, weight, 0.03)
        means.append((canaries @ w + b).mean())
    assert means == sorted(means)


def test_suspicions_that_are_all_alike_get_weights_that_are_finite():
    w, b, _ = weigh(np.zeros((50, 2)), np.full(50, 0.1), np.zeros((5, 2)), 0.2, 0.03)
    assert np.isfinite([*w, b]).all()
    assert w[0] == w[1]


# ---- opinions ----------------------------------------------------------------------------------------------------


def opinions(n=400, m=60, right=(0.9, 0.1), silent=0.3, seed=0):
    """Margins of n right and m wrong labels under one opinion that is often right and one of chance, some silent."""
    generator = np.random.default_rng(seed)

    def margins(rows, sign):
        errs = generator.random((rows, 2)) > [right[0], 0.5]
        values = sign * np.where(errs, -1, 1) * generator.uniform(0.3, 0.9, (rows, 2))
        return np.where(generator.random((rows, 2)) < silent, np.nan, values)

    return margins(n, -1), margins(m, 1)


def test_an_opinions_weight_is_that_of_a_loop():
    own, canaries = opinions()
    found = weigh_opinions(own, canaries)
    for i in range(2):
        right = [value for value in own[:, i].tolist() if not np.isnan(value)]
        wrong = [value for value in canaries[:, i].tolist() if not np.isnan(value)]
        means = [sum(side) / len(side) for side in (right, wrong)]
        spreads = [
            sum((v - mean) ** 2 for v in side) / len(side) for side, mean in zip((right, wrong), means, strict=True)
        ]
        variance = max(sum(spreads) / 2, 0.1)
        chance = (variance * (1 / len(right) + 1 / len(wrong))) ** 0.5
        assert found.slopes[i] == pytest.approx(max(means[1] - means[0] - chance, 0) / variance)
        assert found.middles[i] == pytest.approx(sum(means) / 2)
        for row in own[:20]:
            terms = [0 if np.isnan(m) else v * (m - c) for m, v, c in zip(row, *found, strict=True)]
            assert found.log_odds(row[None])[0] == pytest.approx(sum(terms))


def test_an_opinion_of_chance_has_next_to_no_weight_and_a_contrary_one_none():
    for seed in range(10):
        own, canaries = opinions(seed=seed)
        good, chance = weigh_opinions(own, canaries).slopes
        assert good > 2
        assert chance < 0.25 * good
        assert weigh_opinions(-own, -canaries).slopes[0] == 0


def test_an_opinion_that_speaks_of_no_canary_or_of_nothing_else_has_no_weight():
    own, canaries = opinions()
    silent = np.full_like(own, np.nan)
    for found in (weigh_opinions(silent, canaries), weigh_opinions(own, np.full_like(canaries, np.nan))):
        assert found.slopes.tolist() == [0, 0]
        assert found.log_odds(own).tolist() == [0] * len(own)


def test_an_opinion_that_is_never_seen_to_err_is_not_believed_without_end():
    assert weigh_opinions(np.full((50, 1), -1.0), np.full((9, 1), 1.0)).slopes[0] <= 20


def test_without_opinions_nothing_is_added():
    found = weigh_opinions(np.empty((5, 0)), np.empty((2, 0)))
    assert found.log_odds(np.empty((5, 0))).tolist() == [0] * 5


def naive_bent(column):
    middle = np.median(column)
    width = 1.4826 * np.median([abs(x - middle) for x in column]) or np.std(column)
    bent = np.array([np.arcsinh((x - middle) / (2 * width)) for x in column])
    return (bent - bent.mean()) / bent.std()


@pytest.mark.parametrize("tails", ["normal", "heavy", "one value"])
def test_scales_are_those_of_their_formulas(tails):
    generator = np.random.default_rng(0)
    x = generator.standard_t(2, (400, 2)) if tails == "heavy" else generator.normal(size=(400, 2))
    if tails == "one value":
        x[50:] = 0.5  # as shares of neighbours that agree
    straight, bent = scales_of(x)
    np.testing.assert_allclose(straight(x), (x - x.mean(0)) / x.std(0), atol=1e-12)
    np.testing.assert_allclose(bent(x), np.stack([naive_bent(column) for column in x.T], 1), atol=1e-12)


def test_of_a_bent_scale_one_sample_far_out_moves_the_others_little():
    x = np.random.default_rng(0).normal(size=(1000, 1))
    far = x.copy()
    far[7] = 1e6
    rest = np.arange(1000) != 7
    straight, bent = (
        np.ptp(with_it(far)[rest]) / np.ptp(without(x)[rest])
        for with_it, without in zip(scales_of(far), scales_of(x), strict=True)
    )
    assert straight < 1e-3
    assert bent > 0.5


def test_a_signal_that_is_the_same_for_all_has_no_say_in_either_scale():
    for scale in scales_of(np.full((50, 2), 3.0)):
        np.testing.assert_array_equal(scale(np.full((50, 2), 3.0)), 0)


def test_what_is_minimised_is_told():
    x, chances, canaries = data()
    w, b, loss = weigh(x, chances, canaries, 0.2, 0.03)
    assert loss == pytest.approx(stated([*w, b], x, chances, canaries, 0.2, 0.03))


def test_of_canaries_those_that_count_decide_what_a_signal_is_worth():
    """The second signal tells one half of the canaries, and tells against the other."""
    generator = np.random.default_rng(0)
    signals, chances = generator.normal(size=(500, 2)), np.full(500, 0.05)
    canaries = generator.normal(size=(60, 2)) + 2
    canaries[30:, 1] -= 4
    told, misled = np.repeat([1.0, 1e-3], 30), np.repeat([1e-3, 1.0], 30)
    alike, first, second = (weigh(signals, chances, canaries, 0.2, 0.0, kinds).slopes for kinds in (None, told, misled))
    assert first[1] > alike[1] > second[1] == 0
    np.testing.assert_array_equal(alike, weigh(signals, chances, canaries, 0.2, 0.0, np.full(60, 7.0)).slopes)
