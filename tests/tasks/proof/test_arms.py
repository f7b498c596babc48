"""The random arm drops as many of each class as cleaning does, relabelling keeps what it can, seeds pair the arms."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tasks.proof.arms import ARMS, Verification, apply_arm

IDS = np.array([f"{i * 7919 % 1009:04d}" for i in range(60)], dtype=object)
LABELS = np.arange(60) % 3
FLAGGED = np.isin(np.arange(60), [0, 3, 6, 9, 1, 4, 59])
# Of the flagged: a suggestion, none, the given label itself, and a suggestion for one that is not flagged.
SUGGESTED = np.full(60, -1)
SUGGESTED[[0, 4, 6, 2]] = [1, 2, LABELS[6], 0]

ROWS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(-1, 3)), min_size=1, max_size=50)


def of(arm, seed=0, order=slice(None)):
    return apply_arm(IDS[order], LABELS[order], FLAGGED[order], SUGGESTED[order], arm, seed)


def columns(rows):
    ids = np.array([f"{i:03d}" for i in range(len(rows))], dtype=object)
    return ids, *(np.array(column) for column in zip(*rows, strict=True))


def test_untouched_keeps_all_and_cleaned_what_is_not_flagged():
    kept, labels = of("untouched")
    assert kept.all()
    np.testing.assert_array_equal(labels, LABELS)
    kept, labels = of("cleaned")
    np.testing.assert_array_equal(kept, ~FLAGGED)
    np.testing.assert_array_equal(labels, LABELS)


def test_relabelling_mends_whom_another_label_is_suggested_for_and_removes_the_rest():
    kept, labels = of("relabelled")
    assert np.flatnonzero(FLAGGED & kept).tolist() == [0, 4]
    assert labels[[0, 4]].tolist() == [1, 2]
    others = np.delete(np.arange(60), [0, 4])
    np.testing.assert_array_equal(labels[others], LABELS[others])


@given(ROWS)
def test_relabelling_is_what_a_loop_does(rows):
    ids, labels, flagged, suggested = columns(rows)
    kept, new = apply_arm(ids, labels, flagged, suggested, "relabelled")
    for i, (label, flag, other) in enumerate(rows):
        mend = flag and other not in (-1, label)
        assert (bool(kept[i]), int(new[i])) == (not flag or mend, other if mend else label)


@given(ROWS, st.sampled_from(ARMS))
def test_no_arm_changes_what_it_is_given(rows, arm):
    ids, *arrays = columns(rows)
    before = [array.copy() for array in arrays]
    kept, labels = apply_arm(ids, *arrays, arm, 0)
    kept[:], labels[:] = False, -5
    for array, old in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, old)


@given(ROWS, st.integers(0, 5))
def test_random_drops_as_many_of_each_class_as_are_flagged(rows, seed):
    ids, labels, flagged, suggested = columns(rows)
    kept, _ = apply_arm(ids, labels, flagged, suggested, "random", seed)
    np.testing.assert_array_equal(np.bincount(labels[~kept], minlength=4), np.bincount(labels[flagged], minlength=4))


@given(st.randoms(), st.integers(0, 5), st.sampled_from(ARMS))
def test_the_order_of_rows_changes_nothing(random, seed, arm):
    order = np.array(random.sample(range(60), 60))
    for one, other in zip(of(arm, seed, order), of(arm, seed), strict=True):
        np.testing.assert_array_equal(one, other[order])


def test_random_repeats_by_seed_and_differs_between_seeds():
    masks = [of("random", seed)[0] for seed in (0, 0, 1)]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert (masks[0] != masks[2]).any()


def test_random_is_uniform_within_a_class():
    hits = sum((~of("random", seed)[0]).astype(int) for seed in range(600))
    # Four of the twenty of class 0: each is dropped in 120 of 600, give or take five standard deviations.
    assert hits[LABELS == 0].min() > 120 - 5 * (600 * 0.2 * 0.8) ** 0.5
    assert hits[LABELS == 0].max() < 120 + 5 * (600 * 0.2 * 0.8) ** 0.5


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_arm_meets_every_seed_once(seeds):
    arms, numbers = Verification(seeds=seeds).pairs(flagged=1)
    assert len(arms) == len(numbers) == len(ARMS) * seeds
    assert set(zip(arms, numbers, strict=True)) == {(arm, seed) for arm in ARMS for seed in range(seeds)}


@pytest.mark.parametrize(("remedy", "left"), [("remove", "relabelled"), ("relabel", "cleaned")])
def test_the_remedy_that_is_not_published_need_not_be_tried(remedy, left):
    arms, _ = Verification(seeds=1, remedy=remedy, other_remedy=False).pairs(flagged=1)
    assert arms == [arm for arm in ARMS if arm != left]


@pytest.mark.parametrize(
    ("facts", "remedy"),
    [({}, "remove"), ({"review": {"relabelled": 0}}, "remove"), ({"review": {"relabelled": 2}}, "relabel")],
)
def test_where_a_reviewer_relabelled_the_proof_relabels(facts, remedy):
    assert Verification(remedy="remove").as_decided(facts).remedy == remedy
    assert Verification(remedy="relabel").as_decided(facts).remedy == "relabel"


def test_where_nothing_is_flagged_nothing_but_the_untouched_arm_is_trained():
    assert Verification(seeds=2).pairs(flagged=0) == (["untouched", "untouched"], [0, 1])


def test_the_verdict_is_about_what_is_published():
    assert (Verification().treatment, Verification(remedy="relabel").treatment) == ("cleaned", "relabelled")


@pytest.mark.parametrize("option", [{"seeds": 0}, {"remedy": "keep"}, {"margin": 1.0}, {"class_loss": -0.1}])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValidationError, match=next(iter(option))):
        Verification(**option)
