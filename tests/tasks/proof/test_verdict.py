"""The verdict follows from the intervals alone, the gate from the verdict; both say why in words one can decide by."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from tasks.proof.arms import Verification
from tasks.proof.verdict import Change, Gain, gain_of, most_changed, verdict_lines, verdict_of

SEEDS, TESTED = 5, 2000


def right(accuracy, seed, seeds=SEEDS, tested=TESTED):
    """Mostly the same samples are hard for every arm; the rest is the luck of a training."""
    hard = np.random.default_rng(99).random(tested)
    luck = np.random.default_rng(seed).random((seeds, tested))
    return np.where(luck < 0.05, np.random.default_rng(seed + 1).random((seeds, tested)), hard) < accuracy


def gain(word, low=-0.01, high=0.02):
    ends = {"helps": (0.01, 0.03), "harms": (-0.03, -0.01), "no evidence": (low, high)}[word]
    return Gain(mean=sum(ends) / 2, low=ends[0], high=ends[1], t=ends, bootstrap=ends, word=word)


def judged(untouched, random, changes=(), seeds=5, flagged=10, **options):
    gains = {"untouched": gain(untouched), "random": gain(random)}
    return verdict_of(gains, list(changes), seeds, flagged, Verification(**options))


def change(value, name="cat", by="class"):
    return Change(by=by, name=name, tested_on=50, change=value)


# ---- one gain ----------------------------------------------------------------------------------------------------


def test_better_is_said_to_help_worse_to_harm_and_the_same_to_be_no_evidence():
    base = right(0.8, 0)
    assert gain_of(right(0.84, 10), base).word == "helps"
    assert gain_of(right(0.76, 20), base).word == "harms"
    assert gain_of(right(0.8, 30), base).word == "no evidence"


def test_what_decides_is_the_wider_of_both_intervals():
    treated, control = right(0.82, 0), right(0.8, 10)
    found = gain_of(treated, control)
    differences = treated.mean(1) - control.mean(1)
    student = stats.ttest_1samp(differences, 0.0).confidence_interval(0.95)
    assert found.t == pytest.approx((student.low, student.high))
    assert found.low == min(found.t[0], found.bootstrap[0])
    assert found.high == max(found.t[1], found.bootstrap[1])


def test_seeds_that_agree_leave_the_doubt_about_the_test_samples():
    treated, control = np.ones((4, 100), bool), np.tile(np.arange(100) >= 3, (4, 1))
    found = gain_of(treated, control)
    assert found.t == pytest.approx((0.03, 0.03))
    assert found.low < 0.03 < found.high


def test_one_seed_is_no_evidence_however_large_the_difference():
    found = gain_of(np.ones((1, 500), bool), np.zeros((1, 500), bool))
    assert (found.t, found.mean, found.word) == (None, 1.0, "no evidence")


def test_no_difference_of_two_shares_is_larger_than_all():
    treatment, control = np.array([[1.0, 1, 1, 1], [0, 0, 1, 1]]), np.array([[0.0, 1, 1, 1], [1, 1, 1, 1]])
    said = gain_of(treatment, control)
    assert said.t[0] < -1 < 1 < said.t[1]  # Student's interval of two seeds knows no bounds
    assert (said.low, said.high) == (-1, 1)


@given(st.tuples(st.integers(2, 5), st.integers(1, 40)).flatmap(lambda s: st.tuples(arrays(bool, s), arrays(bool, s))))
def test_swapping_the_arms_turns_help_into_harm(both):
    treated, control = both
    there, back = gain_of(treated, control), gain_of(control, treated)
    assert there.low <= there.mean + 1e-9
    assert there.mean <= there.high + 1e-9
    assert there.mean == pytest.approx(-back.mean)
    assert there.t == pytest.approx((-back.t[1], -back.t[0]))


def test_under_no_difference_promotion_by_chance_is_rare():
    promoted = sum(gain_of(right(0.8, 100 + 4 * i, 3, 300), right(0.8, 102 + 4 * i, 3, 300)).low > 0 for i in range(60))
    assert promoted <= 4


# ---- the verdict -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("untouched", "random", "word"),
    [
        ("helps", "helps", "helps"),
        ("helps", "no evidence", "no evidence"),
        ("no evidence", "helps", "no evidence"),
        ("no evidence", "no evidence", "no evidence"),
        ("harms", "helps", "harms"),
        ("helps", "harms", "harms"),
        ("harms", "harms", "harms"),
    ],
)
def test_it_helps_only_against_both_and_harms_against_either(untouched, random, word):
    found = judged(untouched, random)
    assert found.word == word
    assert found.promote == (word != "harms" and random == "helps")


def test_an_inverted_detector_harms():
    """Removing the good ones: worse than both controls."""
    treated, untouched, random = right(0.7, 0), right(0.8, 10), right(0.79, 20)
    gains = {"untouched": gain_of(treated, untouched), "random": gain_of(treated, random)}
    found = verdict_of(gains, [], SEEDS, 100, Verification())
    assert (found.word, found.promote) == ("harms", False)
    assert found.sentence == "removing the 100 flagged is worse than the untouched data and than random removal"


def test_a_clean_dataset_gives_no_evidence():
    gains = {"untouched": gain_of(right(0.8, 0), right(0.8, 10)), "random": gain_of(right(0.8, 0), right(0.8, 20))}
    found = verdict_of(gains, [], SEEDS, 100, Verification())
    assert (found.word, found.promote) == ("no evidence", False)


def test_nothing_flagged_promotes_nothing_whatever_the_figures_say():
    found = judged("helps", "helps", flagged=0)
    assert (found.word, found.promote, len(found.because)) == ("no evidence", False, 1)
    assert "nothing was flagged" in found.sentence


def test_one_seed_says_what_it_lacks():
    assert "one seed says nothing of the noise of training" in judged("no evidence", "no evidence", seeds=1).sentence


# ---- the gate ----------------------------------------------------------------------------------------------------


def test_a_lower_bound_must_be_above_the_margin_and_not_at_it():
    assert judged("helps", "helps", margin=0.009).promote
    at = judged("helps", "helps", margin=0.01)
    assert not at.promote
    assert at.because == ["the lower bound against random removal, +1.00%, is not above the margin of +1.00%"]


def test_a_class_that_loses_too_much_stops_it_and_a_group_does_not():
    assert judged("helps", "helps", [change(-0.05), change(-0.2, by="group")]).promote
    stopped = judged("helps", "helps", [change(-0.06), change(-0.08, "dog"), change(0.2, "cow")])
    assert not stopped.promote
    assert stopped.because == ["class dog and 1 more loses more than the 5.00% allowed (-8.00% on 50 samples)"]
    assert judged("helps", "helps", [change(-0.08)], class_loss=0.1).promote


def test_a_promotion_says_by_what_it_was_earned():
    found = judged("helps", "helps", [change(-0.02)])
    assert found.because == [
        "the lower bound against random removal, +1.00%, is above the margin of +0.00%",
        "no class loses more than 5.00% (most: 2.00%)",
    ]


def test_a_range_of_a_number_is_not_called_a_class():
    called = ("range", "ranges")
    small, large = (change(value, "0 … 9").model_copy(update={"called": called}) for value in (-0.02, -0.2))
    assert judged("helps", "helps", [small]).because[1] == "no range loses more than 5.00% (most: 2.00%)"
    assert judged("helps", "helps", [large]).because[0].startswith("range 0 … 9 loses more than the 5.00% allowed")
    lines = verdict_lines(facts(changes=[small.model_dump(mode="json")]))
    assert "ranges that change most: 0 … 9 -2.00% (of 50)" in lines


def test_a_promotion_says_of_how_many_classes_it_knows_nothing():
    gains = {"untouched": gain("helps"), "random": gain("helps")}
    verdict = verdict_of(gains, [change(0.0)], 5, 10, Verification(), untested=3)
    assert verdict.promote
    assert verdict.because[-1] == "of 3 classes nothing is known, for they have no test sample"


@pytest.mark.parametrize(
    ("by_all", "by_usual", "word"),
    [
        ("harms", "helps", "no evidence"),
        ("harms", "no evidence", "no evidence"),
        ("helps", "no evidence", "no evidence"),
        ("helps", "harms", "no evidence"),
        ("no evidence", "helps", "no evidence"),
        ("helps", "helps", "helps"),
        ("harms", "harms", "harms"),
    ],
)
def test_what_hangs_on_few_test_labels_is_no_evidence_and_promotes_nothing(by_all, by_usual, word):
    usual = {"untouched": gain(by_usual), "random": gain(by_usual)}
    gains = {"untouched": gain(by_all), "random": gain(by_all)}
    found = verdict_of(gains, [], 5, 10, Verification(), usual=usual)
    assert (found.word, found.promote) == (word, word == "helps")
    if by_all != by_usual:
        assert found.sentence == (
            f"it hangs on few test labels: {by_all} by all of them, {by_usual} without these; check these first"
        )
        assert found.because[-1] == "its verdict would hang on few test labels"


def test_few_test_labels_alone_do_not_earn_a_promotion():
    """The lower bound against random removal must hold without them as well, whatever the words are."""
    gains = {"untouched": gain("no evidence"), "random": gain("helps")}
    usual = {"untouched": gain("no evidence"), "random": gain("no evidence")}
    assert verdict_of(gains, [], 5, 10, Verification()).promote
    found = verdict_of(gains, [], 5, 10, Verification(), usual=usual)
    assert not found.promote
    assert found.because == [
        "without the few test labels that the figure hangs on, the lower bound against random removal, -1.00%, is not "
        "above the margin of +0.00%"
    ]


def test_harm_stops_it_even_below_a_negative_margin():
    found = judged("harms", "helps", margin=-1)
    assert (found.word, found.promote, found.because) == ("harms", False, ["it harms"])


# ---- words -------------------------------------------------------------------------------------------------------


def test_of_many_classes_those_at_both_ends_are_told():
    classes = [change(i / 100, f"c{i:03d}") for i in range(-20, 80)]
    groups = [change(0.1, "g", "group")]
    found = most_changed([*classes, *groups])
    assert [c.change for c in found if c.by == "class"] == [-0.2, -0.19, -0.18, 0.77, 0.78, 0.79]
    assert [c.name for c in found if c.by == "group"] == ["g"]


def facts(**more):
    accuracy = {"untouched": 0.9, "cleaned": 0.92, "random": 0.89, "relabelled": 0.925}
    gains = {"untouched": gain("no evidence"), "random": gain("helps")}
    told_gains = {name: one.model_dump(mode="json") for name, one in gains.items()}
    return {
        "accuracy": accuracy,
        "calibration": {name: 1 - value for name, value in accuracy.items()},
        "gains": {"cleaned": told_gains, "relabelled": told_gains},
        "changes": [change(-0.01).model_dump(), change(0.0, "dog").model_dump()],
        "verdict": judged("no evidence", "helps").model_dump(mode="json"),
        "seeds": 5,
        "tested_on": 1000,
        "suspects": 0,
        "trusted": None,
    } | more


def test_a_summary_says_all_that_one_needs_to_decide():
    assert verdict_lines(facts()) == [
        "before: 90.00%",
        "after: 92.00%",
        "relabelled: 92.50%",
        "as many removed at random: 89.00%",
        "calibration error: 10.00% before, 8.00% after",
        "after against untouched: +0.50% (95 % [-1.00%, +2.00%]), no evidence",
        "after against random: +2.00% (95 % [+1.00%, +3.00%]), helps",
        "classes that change most: cat -1.00% (of 50)",
        "means of 5 paired seeds on 1,000 test samples",
        "verdict: no evidence: the difference to the untouched data may as well be nothing; more seeds or test samples "
        "may tell",
        "passes the gate, which asks for no more: the lower bound against random removal, +1.00%, is above the margin "
        "of +0.00%; no class loses more than 5.00% (most: 0.00%)",
    ]


def test_suspect_test_labels_are_counted_and_the_figures_without_them_told():
    gains = facts()["gains"]["cleaned"]
    lines = verdict_lines(facts(suspects=12, trusted={"tested_on": 988, "accuracy": {}, "gains": gains}))
    (line,) = [line for line in lines if "suspect" in line]
    assert line == (
        "12 of 1,000 test labels are suspect themselves (examination.parquet); without them: against untouched +0.50% "
        "(95 % [-1.00%, +2.00%]), no evidence; against random +2.00% (95 % [+1.00%, +3.00%]), helps"
    )
    assert (
        verdict_lines(facts(suspects=1000))[-3]
        == "1,000 of 1,000 test labels are suspect themselves (examination.parquet)"
    )


def test_few_labels_that_the_figure_hangs_on_are_counted_and_the_figures_without_them_told():
    gains = facts()["gains"]["cleaned"]
    usual = {"tested_on": 993, "accuracy": {"untouched": 0.8, "cleaned": 0.85, "random": 0.81}, "gains": gains}
    told = {"figure": "R²", "usual": usual}
    (line,) = [line for line in verdict_lines(facts(few={"weigh": 5, "far": 2}, **told)) if "hangs on few" in line]
    assert line == (
        "R² hangs on few labels: 5 of 1,000 test labels make up more than half of the squares that it counts (typing "
        "errors, or a heavy tail); without these and 2 more that lie beyond ten spreads from the median: before "
        "80.00%, after 85.00%, as many removed at random 81.00%; against untouched +0.50% (95 % [-1.00%, +2.00%]), no "
        "evidence; against random +2.00% (95 % [+1.00%, +3.00%]), helps"
    )
    alone = verdict_lines(facts(few={"weigh": 5, "far": 0}, **told))
    assert [line for line in alone if "; without these: before 80.00%" in line]
    assert not [line for line in verdict_lines(facts(few={"weigh": 0, "far": 0}, usual=None)) if "few" in line]


def test_where_relabelled_data_are_published_the_other_arm_is_named_for_what_it_is():
    lines = verdict_lines(
        facts(verdict=judged("helps", "helps", [change(-0.9)], remedy="relabel").model_dump(mode="json"))
    )
    assert lines[1:3] == ["after: 92.50%, relabelled", "removed instead: 92.00%"]
    assert lines[-1].startswith("stays a candidate because class cat loses more")


def test_an_arm_that_was_not_trained_is_not_told_of():
    accuracy = facts()["accuracy"]
    del accuracy["relabelled"]
    assert verdict_lines(facts(accuracy=accuracy)) == [
        line for line in verdict_lines(facts()) if not line.startswith("relabelled")
    ]
