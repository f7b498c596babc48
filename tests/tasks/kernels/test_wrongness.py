"""The share of wrong labels follows from how often two observers contradict labels, one another, and canaries."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from sklearn.isotonic import IsotonicRegression

from tasks.kernels.wrongness import (
    Strata,
    chances,
    difficulty,
    expit,
    isotonic_regression,
    joined_odds,
    logit,
    noise_share,
    resample,
    strata_of,
    tally,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def strata(*rows):
    """Each row: samples, contradicted, disputed, canaries, caught."""
    return Strata(*np.array(rows, float).T)


@st.composite
def counts(draw):
    rows = []
    for _ in range(draw(st.integers(1, 6))):
        n = draw(st.integers(1, 200))
        m = draw(st.integers(0, n))
        rows.append([n, draw(st.integers(0, n)), draw(st.integers(0, n)), m, draw(st.integers(0, m))])
    return strata(*rows)


def by_pooling(values, weights):
    """Isotonic regression by pooling adjacent violators."""
    blocks = []
    for value, weight in zip(values, weights, strict=True):
        blocks.append([value, weight, 1])
        while len(blocks) > 1 and blocks[-2][0] >= blocks[-1][0]:
            (v, w, m), (x, u, n) = blocks[-2:]
            blocks[-2:] = [[(v * w + x * u) / (w + u), w + u, m + n]]
    return np.concatenate([np.full(size, value) for value, _, size in blocks])


def by_formula(found):
    """π = (D − e)/(c − e), stratum by stratum, then made to rise where it should be even."""
    overall = (found.caught.sum() + 1) / (found.canaries.sum() + 1)
    rows = []
    for n, contradicted, disputed, canaries, caught in zip(*found, strict=True):
        c, d, e = (caught + 5 * overall) / (canaries + 5), contradicted / n, disputed / n
        rows.append((n, c, d, (d - e) / max(c - e, 0.05), n * max(c - e, 0.05)))
    shares = np.array([row[3] for row in rows])
    shares = by_pooling(shares, [row[4] for row in rows]).clip(0, 1)
    told = [
        (min(1, share * c / max(d, 1 / n)), min(1, share * (1 - c) / max(1 - d, 1 / n)))
        for share, (n, c, d, *_) in zip(shares, rows, strict=True)
    ]
    return np.array(told)


@given(counts())
def test_chances_are_the_formula_and_probabilities_whatever_was_counted(found):
    said = chances(found)
    np.testing.assert_allclose(np.stack(said, 1), by_formula(found), atol=1e-9)
    for values in said:
        assert values.min() >= 0
        assert values.max() <= 1


@given(st.lists(st.tuples(st.floats(-3, 3), st.floats(0.1, 50)), min_size=1, max_size=25))
def test_the_rise_is_isotonic_regression_and_keeps_the_weighted_mean(pairs):
    values, weights = map(np.array, zip(*pairs, strict=True))
    risen = isotonic_regression(values, weights)
    expected = IsotonicRegression().fit_transform(np.arange(len(values)), values, sample_weight=weights)
    np.testing.assert_allclose(risen, expected, atol=1e-9)
    assert (risen * weights).sum() == pytest.approx((values * weights).sum(), abs=1e-6)
    np.testing.assert_array_equal(
        isotonic_regression(np.stack([values, values]), np.stack([weights, weights])), [risen, risen]
    )


@given(st.lists(st.tuples(st.floats(-20, 20), st.floats(0.05, 100)), min_size=1, max_size=12))
def test_the_rising_sequence_is_that_of_pooling_and_keeps_the_mean(drawn):
    values, weights = np.array(drawn).T
    found = isotonic_regression(values, weights)
    np.testing.assert_allclose(found, by_pooling(values, weights), atol=1e-6)
    assert (np.diff(found) >= -1e-6).all()
    assert (found * weights).sum() == pytest.approx((values * weights).sum(), abs=1e-6 * weights.sum())


def test_each_replicate_rises_by_itself():
    generator = np.random.default_rng(0)
    values, weights = generator.normal(size=(7, 5)), generator.random((7, 5)) + 0.1
    expected = [by_pooling(*row) for row in zip(values, weights, strict=True)]
    np.testing.assert_allclose(isotonic_regression(values, weights), expected)


def test_the_formula_finds_the_noise_it_was_made_with():
    # π = 0.2; of wrong labels 90 % are contradicted, of right ones 10 %: D = 0.9 · 0.2 + 0.1 · 0.8.
    (contradicted,), (confirmed,) = chances(strata([100_000, 26_000, 10_000, 10_000, 9_000]))
    assert contradicted == pytest.approx(0.9 * 0.2 / 0.26, rel=1e-2)
    assert confirmed == pytest.approx(0.1 * 0.2 / 0.74, rel=2e-2)


def test_where_the_observers_do_not_dispute_a_canary_is_missed_only_on_a_label_that_was_wrong():
    # π = 0.2, observers that never err; of the canaries a tenth made a wrong label right.
    rows = np.array([[[1000]], [[200]], [[0]], [[100]], [[90]]], float)
    assert noise_share(Strata(*rows)).tolist() == pytest.approx([0.2])
    # Where they dispute as often as they contradict nothing is wrong beyond their own error.
    rows[2] = 200
    assert noise_share(Strata(*rows)).tolist() == [0]


def test_a_stratum_without_canaries_takes_the_rate_of_the_others():
    with_own = chances(strata([100, 30, 5, 1000, 900], [100, 30, 5, 1000, 900]))
    without = chances(strata([100, 30, 5, 0, 0], [100, 30, 5, 1000, 900]))
    np.testing.assert_allclose(without.contradicted, with_own.contradicted, rtol=1e-2)


def test_without_any_canary_every_wrong_label_counts_as_contradicted():
    (contradicted,), (confirmed,) = chances(strata([100, 30, 0, 0, 0]))
    assert (contradicted, confirmed) == (1.0, 0.0)


def test_no_contradiction_is_no_noise():
    said = chances(strata([50, 0, 0, 10, 10], [50, 0, 7, 10, 9], [1, 0, 0, 0, 0]))
    assert not np.concatenate(said).any()


@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 999))
def test_strata_are_of_equal_size_and_in_the_order_of_difficulty(n, count, seed):
    hardness = np.random.default_rng(seed).normal(size=n)
    found = strata_of(hardness, min(count, n))
    assert np.ptp(np.bincount(found, minlength=min(count, n))) <= 1
    assert (np.diff(found[np.argsort(hardness)]) >= 0).all()


@given(st.integers(2, 6), st.integers(0, 999))
def test_difficulty_does_not_know_the_label_and_is_low_where_both_are_sure_of_one_class(k, seed):
    generator = np.random.default_rng(seed)
    p, v = (generator.dirichlet(np.ones(k), 9).astype(np.float32) for _ in range(2))
    expected = [
        -max(np.log(x + 1e-3) + np.log(y + 1e-3) for x, y in zip(a, b, strict=True))
        for a, b in zip(p.astype(float), v.astype(float), strict=True)
    ]
    np.testing.assert_allclose(difficulty(p, v), expected, rtol=1e-4, atol=1e-5)
    sure, torn = np.eye(k, dtype=np.float32)[[0]], np.eye(k, dtype=np.float32)[[1]]
    assert difficulty(sure, sure) < difficulty(p, v).min() + 1e-6
    assert difficulty(sure, torn) >= difficulty(p, v).max() - 1e-6


@given(st.lists(st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 0.99)), min_size=1), st.floats(0.01, 0.99))
def test_odds_are_multiplied(drawn, usual):
    chance, pair = np.array(drawn).T
    found = joined_odds(chance, pair, usual)
    odds = chance / (1 - chance) * pair / (1 - pair) / (usual / (1 - usual))
    np.testing.assert_allclose(found, odds / (1 + odds), rtol=1e-9)


def test_evidence_that_is_as_usual_changes_nothing_and_none_is_surer_than_it_may_be():
    chance = np.array([0.0, 0.1, 0.9, 1.0])
    np.testing.assert_allclose(joined_odds(chance, np.full(4, 0.3), 0.3), [0.005, 0.1, 0.9, 0.995])


@given(st.floats(-700, 700))
def test_the_logistic_function_turns_the_log_odds_round(x):
    p = expit(np.array([x]))
    assert 0 <= p[0] <= 1
    np.testing.assert_allclose(expit(logit(p)), np.clip(p, 0.005, 0.995))


@given(st.integers(1, 40), st.integers(1, 4), st.integers(0, 999))
def test_counts_are_those_of_a_loop(n, count, seed):
    generator = np.random.default_rng(seed)
    stratum = generator.integers(0, count, n)
    contradicted, disputed = generator.random((2, n)) < 0.3
    places = np.flatnonzero(generator.random(n) < 0.3)
    caught = generator.random(len(places)) < 0.5
    expected = np.zeros((5, count))
    for i in range(n):
        expected[:3, stratum[i]] += 1, contradicted[i], disputed[i]
    for place, is_caught in zip(places, caught, strict=True):
        expected[3:, stratum[place]] += 1, is_caught
    np.testing.assert_array_equal(np.stack(tally(stratum, contradicted, disputed, places, caught, count)), expected)


def test_replicates_keep_what_is_fixed_and_scatter_as_samples_do():
    found = strata([200, 50, 30, 40, 30], [300, 0, 0, 0, 0], [100, 100, 100, 20, 20])
    both = np.array([20.0, 0.0, 100.0])
    again = resample(found, both, 4000, np.random.default_rng(0))
    assert again.contradicted.shape == (4000, 3)
    for fixed in ("samples", "canaries"):
        assert (getattr(again, fixed) == getattr(found, fixed)).all()
    np.testing.assert_allclose(again.contradicted.mean(0), found.contradicted, atol=0.5)
    np.testing.assert_allclose(again.disputed.mean(0), found.disputed, atol=0.5)
    np.testing.assert_allclose(again.caught.mean(0), found.caught, atol=0.3)
    np.testing.assert_allclose(again.contradicted.var(0), [200 * 0.25 * 0.75, 0, 0], rtol=0.1)
    # Both counts go up together by what they share: n (P(both) − P(contradicted) P(disputed)).
    together = np.cov(again.contradicted[:, 0], again.disputed[:, 0])[0, 1]
    assert together == pytest.approx(200 * (0.1 - 0.25 * 0.15), rel=0.15)
    assert np.isfinite(np.stack(chances(again))).all()


def test_replicates_repeat_by_their_generator():
    found, both = strata([200, 50, 30, 40, 30]), np.array([20.0])
    one, other = (resample(found, both, 5, np.random.default_rng(3)) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def test_votes_over_other_classes_are_refused():
    with pytest.raises(TypeCheckError):
        difficulty(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(TypeCheckError):
        strata_of(np.arange(3), 1)
