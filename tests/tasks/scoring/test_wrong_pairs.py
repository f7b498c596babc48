"""Of one class that is called another, and of pairs that are exchanged, as much is stated as is known, and no more."""

import numpy as np
import pytest

from tasks.kernels.label_pools import fit_pools
from tasks.kernels.lapses import consensus, fit_lapses
from tasks.scoring.wrongness import Observations, wrongness_of

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")


def softmax(scores):
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def observed(seed, flips, expected=0.0, n=2500, k=5, **options):
    """(observations, which are wrong); ``flips`` says how often a class is called the next one, which both observers
    have learned to expect so much more."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(0, k, n)
    scores = 4 * np.eye(k)[truth] + expected * np.roll(np.eye(k), 1, 1)[truth]
    p, votes = softmax(scores + generator.normal(0, 0.8, (2, n, k)))
    wrong = generator.random(n) < np.array(flips)[truth]
    labels = np.where(wrong, (truth + 1) % k, truth)
    places = np.arange(0, n, 20)
    return Observations(p, votes, labels, places, (labels[places] + 2) % k, **options), wrong


def longest(sure, least):
    """How many of the likeliest have a mean of ``least``."""
    means = np.cumsum(np.sort(sure)[::-1]) / np.arange(1, len(sure) + 1)
    return int(np.flatnonzero(means >= least).max(initial=-1)) + 1


@pytest.mark.parametrize("share", [0.1, 0.25])
def test_one_class_that_is_called_another_is_found_though_all_others_are_right(share):
    """The dissent of all classes together fades: from 0 on was stated, and nothing flagged."""
    for seed in range(3):
        observations, wrong = observed(seed, [share, 0, 0, 0, 0], expected=1.0)
        said = wrongness_of(observations)
        assert 0.5 * wrong.mean() < said.share.low <= wrong.mean() <= said.share.high
        most = np.argsort(-said.sure, kind="stable")[: longest(said.sure, 0.8)]
        assert wrong[most].mean() > 0.8
        assert wrong[most].sum() > 0.5 * wrong.sum()


def test_readings_that_tell_different_shares_are_no_figure():
    """Half of the classes are called the next one so often that both observers expect it, and one reading does not."""
    observations, wrong = observed(1, [0.4] * 4 + [0] * 4, expected=3.0, n=3000, k=8)
    p, votes, labels = observations.probabilities, observations.votes, observations.labels
    choice, odds = consensus(p, votes)
    fit, by_fading = fit_pools(p, votes, labels), fit_lapses(odds, choice != labels)
    assert fit.by_pairs
    assert fit.lapses.high < by_fading.low
    said = wrongness_of(observations)
    assert said.share.value is None
    assert said.share.fit[0] == fit.lapses.low < wrong.mean() < by_fading.high <= said.share.high
    along = (labels - choice) % 8 == 1
    assert said.high[along].mean() > 0.5 > said.high[~along].mean()
    assert max(said.low.max(), said.high.max()) <= 1


def test_sets_of_labels_are_no_classes_that_are_taken_for_each_other():
    observations, _ = observed(0, [0.25, 0, 0, 0, 0], expected=1.0, sets=True)
    assert wrongness_of(observations).share.low == 0
