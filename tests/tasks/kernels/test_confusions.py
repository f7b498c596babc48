"""Pairs of classes that wrong labels keep to are told from pairs that are hard to tell, and none is read by its own."""

import numpy as np
import pytest

from tasks.kernels.confusions import anywhere, confusions_of
from tasks.kernels.label_pools import fit_pools
from tasks.kernels.pools import observe

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def learned(p, votes, labels):
    observed = observe(p, votes, labels, None)
    return confusions_of(observed, anywhere(observed), np.arange(len(labels)))


def sure_observers(seed, n=3000, k=4):
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, k, n)
    p, votes = softmax(5 * np.eye(k)[truth] + generator.normal(0, 1, (2, n, k)))
    return p, votes, truth, generator


@pytest.mark.parametrize("seed", range(3))
def test_rates_of_wrong_labels_are_those_of_their_pairs(seed):
    """Of class 0 a fifth is called class 1, of class 2 a tenth class 3."""
    p, votes, truth, generator = sure_observers(seed)
    draw = generator.random(len(truth))
    labels = np.where((truth == 0) & (draw < 0.2), 1, np.where((truth == 2) & (draw < 0.1), 3, truth))
    wrong = labels != truth
    rates = learned(p, votes, labels).wrong * wrong.mean()
    for half in rates:
        assert half[0, 1] == pytest.approx(0.2, abs=0.04)
        assert half[2, 3] == pytest.approx(0.1, abs=0.03)
        others = half.copy()
        others[0, 1] = others[2, 3] = 0
        assert others.max() < 0.01


def test_a_pair_that_is_harder_to_tell_than_the_observers_think_is_no_pair_of_wrong_labels():
    """Labels of class 1 are four times as frequent as both observers think where they think of class 0."""
    generator = np.random.default_rng(0)
    p = softmax(generator.normal(0, 2, (6000, 4)))
    q = p * np.where((p.argmax(1) == 0)[:, None], [1, 4, 1, 1], 1)
    q /= q.sum(1, keepdims=True)
    labels = (q.cumsum(1) < generator.random((6000, 1))).sum(1).clip(max=3)
    hard = learned(p, p, labels).hard
    assert hard[:, 0, 1].min() > 0.5
    assert np.delete(hard.reshape(2, 16), 1, axis=1).max() < 0.5
    assert fit_pools(p, p, labels).lapses.low == 0


def test_a_half_is_read_by_the_other():
    p, votes, truth, generator = sure_observers(0)
    before = learned(p, votes, truth)
    own = before.part == 0
    exchanged = np.where(own & (generator.random(len(truth)) < 0.3), (truth + 1) % 4, truth)
    after = learned(p, votes, exchanged)
    assert (after.part == before.part).all()
    assert after.wrong[0] == pytest.approx(
        before.wrong[0], abs=0.5
    )  # where wrong labels go if there are none: anywhere
    assert np.abs(after.wrong[1] - before.wrong[1]).max() > 0.3
    assert after.hard[0] == pytest.approx(before.hard[0], abs=0.1)


def test_rates_are_one_on_average_and_none_is_of_the_first_choice_itself():
    p, votes, truth, generator = sure_observers(1)
    labels = np.where(generator.random(len(truth)) < 0.1, (truth + 1) % 4, truth)
    found = learned(p, votes, labels)
    choice = observe(p, votes, labels, None).choice
    for side in (0, 1):
        others = found.part != side
        assert found.wrong[side].sum(1)[choice[others]].mean() == pytest.approx(1)
        assert not found.wrong[side].diagonal().any()
        assert not found.hard[side].diagonal().any()


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_handful_of_labels_is_enough(n):
    p = np.full((n, 3), 1 / 3)
    found = learned(p, p, np.arange(n) % 3)
    assert np.isfinite(found.wrong).all()
    assert np.isfinite(found.hard).all()


def test_wrong_labels_that_go_anywhere_go_where_labels_do_that_are_not_the_first_choice():
    p = np.eye(3)[[0, 0, 0, 1, 2]] * 0.9 + 0.03
    observed = observe(p, p, np.array([0, 1, 1, 2, 2]), None)
    counts = np.array([0.5, 2.5, 1.5])  # two dissents of class 1, one of class 2
    assert anywhere(observed)[0] == pytest.approx([0, 2.5 / 4, 1.5 / 4])
    assert anywhere(observed)[1] == pytest.approx([0.5 / 2, 0, 1.5 / 2])
    assert anywhere(observed)[2] == pytest.approx([*counts[:2] / 3, 0])
