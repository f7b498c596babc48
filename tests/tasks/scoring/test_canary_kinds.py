"""A canary counts as much as errors of its kind are seen: by pair of classes, or by labels that a set lost or got."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch

from tasks.dataset.targets import Target
from tasks.dataset.targets.labels import labels_from
from tasks.scoring.canary_kinds import canary_kinds
from tasks.scoring.wrongness import Observations

NAMES = ["a", "b", "c", "d"]
TARGET = labels_from({"a|b": 9, "a": 5, "a|b|c": 5, "c|d": 5}, "|", "here")


class Original(SimpleNamespace):
    def __len__(self):
        return len(self.texts)


def sets(given, outputs, planted):
    """Canaries of the first samples, the last of them first."""
    count = len(planted)
    texts = pa.array(given)
    original = Original(target=TARGET, texts=texts, outputs=torch.tensor(outputs, dtype=torch.float32))
    ranks = np.arange(count)[::-1]
    return SimpleNamespace(
        with_given_labels=original,
        target=TARGET,
        texts=texts[:count],
        canary_ranks=ranks,
        canaries=SimpleNamespace(text=pa.array(planted).take(pa.array(ranks))),
    )


@pytest.mark.parametrize("forgotten", [True, False])
def test_of_sets_those_count_that_lost_or_got_labels_as_the_others_do(forgotten):
    wrong, n = ("a" if forgotten else "a|b|c"), 400
    given = ["a|b"] * (n - 60) + [wrong] * 60
    outputs = np.tile([4.0, 4.0, -4.0, -4.0], (n, 1)) + np.random.default_rng(0).normal(0, 0.1, (n, 4))
    less, more, other = canary_kinds(sets(given, outputs, ["a", "a|b|c", "c|d"]), 0.0)
    assert (less > 0.8 > other > 0.2 > more) if forgotten else (more > 0.8 > other > 0.2 > less)


def test_of_classes_those_count_whose_pair_has_the_noise():
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 4, 4000)
    labels = np.where(generator.random(4000) < 0.2, (truth + 1) % 4, truth)
    sure = np.eye(4, dtype=np.float32)[truth]
    ranks = np.flatnonzero(labels == truth)[:90]
    planted = (labels[ranks] + generator.integers(1, 4, 90)) % 4
    given = SimpleNamespace(
        target=Target(classes=tuple(NAMES)),
        probabilities=sure,
        votes=sure,
        labels=labels,
        texts=pa.array(NAMES).take(pa.array(labels)),
        canary_ranks=ranks,
        canaries=SimpleNamespace(labels=planted),
        in_base=np.ones(4000, bool),
    )
    given.with_given_labels = given
    canaries = SimpleNamespace(with_given_labels=given, ranks=ranks, labels=planted, ids=ranks)
    same = planted == (labels[ranks] + 1) % 4
    weights = canary_kinds(canaries, 0.9)
    assert weights[same].min() > 2
    assert weights[~same].max() < 0.2
    np.testing.assert_array_equal(canary_kinds(canaries, 0.0), 1)
    assert Observations(sure, sure, labels, ranks, planted).concentration > 0.9
