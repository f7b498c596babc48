"""The pool of two observers, its slopes and what it expects are what their formulas say."""

import numpy as np
import pytest

from tasks.kernels import pools
from tasks.kernels.pools import (
    Confusions,
    Observed,
    dissents_first,
    expected_labels,
    observe,
    pooled,
    said_of,
    unlike_classes,
    wrong_share,
)

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

EXPONENTS = [(0.7, 1.5, -0.5, 0.8, 0.6, 0.2, 0.4, 0.9), (30, 0, 5, 1, 15, 0, 15, 0), (0, 30, -5, 0, 0, 15, 0, 15)]


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def case(k, n=31):
    """n labels of k classes with confusions of two halves, in blocks of five."""
    generator = np.random.default_rng(k)
    p, votes = (generator.dirichlet(np.full(k, 0.3), n) for _ in range(2))
    labels = generator.integers(0, k, n)
    # Of two observers that do not think alike the first choice is likelier than any class to one of them at least.
    choice = ((p + 1e-3) * (votes + 1e-3)).argmax(1)
    shares = (np.bincount(labels, minlength=k) + 0.5) / (n + 0.5 * k)
    observed = Observed(p, votes, labels, choice, np.linspace(0, 1, n), np.zeros(n), np.ones(n, bool), shares)
    wrong, hard = generator.random((2, k, k)), generator.normal(size=(2, k, k))
    for each in (*wrong, *hard):
        np.fill_diagonal(each, 0)
    return observed, Confusions(np.arange(n) % 2, wrong, hard, generator.random((k, k)))


def naive(observed, confusions, exponents, i):
    """(logs, q) of one sample, class by class."""
    c = observed.choice[i]
    logs = np.stack(
        [
            np.log(observed.p[i] + 1e-3),
            np.log(observed.votes[i] + 1e-2),
            np.log(observed.frequencies),
            confusions.hard[confusions.part[i], c],
        ]
    )
    # Of u the first choice itself has none to stand for.
    logs = np.vstack([logs, confusions.unlike[c] * (logs[:2] - logs[:2, [c]]), observed.sure[i] * logs[:2]])
    return logs, softmax(np.array(exponents, float) @ logs)


@pytest.mark.parametrize("k", [1, 2, 5])
@pytest.mark.parametrize("exponents", EXPONENTS)
def test_the_pool_and_its_slopes_are_the_same_in_blocks_as_class_by_class(monkeypatch, k, exponents):
    observed, confusions = case(k)
    monkeypatch.setattr(pools, "_BLOCK", 5 * k)
    rows = dissents_first(observed, np.arange(31))
    said = said_of(observed, confusions, rows)
    pool = pooled(said, np.array(exponents, float))
    assert len(said.logs) > 2
    for place, i in enumerate(rows):
        logs, q = naive(observed, confusions, exponents, i)
        y = observed.labels[i]
        assert pool.q[place] == pytest.approx(q[y], rel=1e-9)
        assert pool.slopes[:, place] == pytest.approx(logs[:, y] - logs @ q, rel=1e-9, abs=1e-9)


def test_classes_are_unlike_a_first_choice_that_the_observers_hardly_think_of_there():
    p = np.array([[0.6, 0.3, 0.1], [0.8, 0.1, 0.1], [0.1, 0.9, 0.0]])
    votes = np.array([[0.7, 0.3, 0.0], [0.5, 0.1, 0.4], [0.2, 0.8, 0.0]])
    unlike = unlike_classes(observe(p, votes, np.array([0, 1, 2]), None))
    thought = np.sqrt([0.4 * 0.4, 0.2 * 0.4])  # of classes 1 and 2, summed over the two samples of first choice 0
    assert unlike[0, 1:] == pytest.approx(1 - thought / thought.max())
    assert unlike[1].tolist() == [0, 1, 1]
    assert (unlike[2] == 1).all()


@pytest.mark.parametrize("rate", [0.1, 0.9])
def test_no_class_is_wrong_more_often_than_nearly_always(rate):
    """A rate that another reading brings may ask for more than all labels of a class."""
    observed, confusions = case(3)
    rows = dissents_first(observed, np.arange(31))
    said = said_of(observed, confusions._replace(wrong=20 * confusions.wrong), rows)
    shares = wrong_share(said, rate, pooled(said, np.array(EXPONENTS[0])))
    assert ((shares > 0) & (shares < 1)).all()


@pytest.mark.parametrize("k", [2, 5])
def test_expected_labels_are_sums_of_the_pool_by_first_choice(monkeypatch, k):
    observed, confusions = case(k)
    monkeypatch.setattr(pools, "_BLOCK", 5 * k)
    rows, right = dissents_first(observed, np.arange(31)), np.random.default_rng(0).random(31)
    said = said_of(observed, confusions, rows)
    pool = pooled(said, np.array(EXPONENTS[0]))
    expected = np.zeros((k, k))
    for place, i in enumerate(rows):
        c = observed.choice[i]
        expected[c] += right[place] * naive(observed, confusions, EXPONENTS[0], i)[1]
        expected[c, c] = 0
    assert expected_labels(said, pool, observed.choice[rows], right, k) == pytest.approx(expected)


def test_dissents_stand_first_and_each_first_choice_together():
    observed, _ = case(4)
    rows = dissents_first(observed, np.arange(31))
    keys = list(zip(observed.labels[rows] == observed.choice[rows], observed.choice[rows], strict=True))
    assert sorted(rows) == list(range(31))
    assert keys == sorted(keys)


def test_a_label_is_wrong_by_the_rate_of_its_pair_in_its_half():
    observed, confusions = case(3)
    rows = dissents_first(observed, np.arange(31))
    said = said_of(observed, confusions, rows)
    pool = pooled(said, np.array(EXPONENTS[0]))
    shares = wrong_share(said, 0.1, pool)
    assert len(shares) == (observed.labels != observed.choice).sum()
    for place, i in enumerate(rows[: len(shares)]):
        rates = confusions.wrong[confusions.part[i], observed.choice[i]]
        y = observed.labels[i]
        right = (1 - 0.1 * rates.sum()) * naive(observed, confusions, EXPONENTS[0], i)[1][y]
        assert shares[place] == pytest.approx(0.1 * rates[y] / (0.1 * rates[y] + right))
