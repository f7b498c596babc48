"""The random arm drops as many of each class as cleaning does, and seeds pair the arms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.arms import ARMS, Verification, dropped

IDS = np.array([f"{i * 7919 % 1009:04d}" for i in range(60)], dtype=object)
LABELS = np.arange(60) % 3
FLAGGED = np.isin(np.arange(60), [0, 3, 6, 9, 1, 4, 59])


def test_untouched_drops_nothing_and_cleaned_what_is_flagged():
    assert not dropped(IDS, LABELS, FLAGGED, "untouched", 0).any()
    cleaned = dropped(IDS, LABELS, FLAGGED, "cleaned", 0)
    np.testing.assert_array_equal(cleaned, FLAGGED)
    assert not np.shares_memory(cleaned, FLAGGED)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), min_size=1, max_size=50), st.integers(0, 5))
def test_random_drops_as_many_of_each_class_as_are_flagged(rows, seed):
    labels, flagged = np.array([y for y, _ in rows]), np.array([f for _, f in rows])
    ids = np.array([f"{i:03d}" for i in range(len(rows))], dtype=object)
    mask = dropped(ids, labels, flagged, "random", seed)
    np.testing.assert_array_equal(np.bincount(labels[mask], minlength=4), np.bincount(labels[flagged], minlength=4))


@given(st.randoms(), st.integers(0, 5))
def test_the_order_of_rows_does_not_change_what_random_drops(random, seed):
    order = np.array(random.sample(range(60), 60))
    mask = dropped(IDS, LABELS, FLAGGED, "random", seed)
    np.testing.assert_array_equal(dropped(IDS[order], LABELS[order], FLAGGED[order], "random", seed), mask[order])


def test_random_repeats_by_seed_and_differs_between_seeds():
    masks = [dropped(IDS, LABELS, FLAGGED, "random", seed) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


def test_random_is_uniform_within_a_class():
    hits = sum(dropped(IDS, LABELS, FLAGGED, "random", seed).astype(int) for seed in range(600))
    # Four of the twenty of class 0: each is dropped in 120 of 600, give or take five standard deviations.
    assert hits[LABELS == 0].min() > 120 - 5 * (600 * 0.2 * 0.8) ** 0.5
    assert hits[LABELS == 0].max() < 120 + 5 * (600 * 0.2 * 0.8) ** 0.5


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_arm_meets_every_seed_once(seeds):
    arms, numbers = Verification(seeds=seeds).pairs()
    assert len(arms) == len(numbers) == 3 * seeds
    assert set(zip(arms, numbers, strict=True)) == {(arm, seed) for arm in ARMS for seed in range(seeds)}
