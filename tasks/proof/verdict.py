"""What the retrained arms say of a cleaning, in figures and in words: helps, harms, or no evidence; and the gate."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict

from tasks.core.intervals import t_interval
from tasks.kernels.paired import bootstrap, percentile_interval, seed_differences
from tasks.proof.arms import Arm, Verification

Word = Literal["helps", "no evidence", "harms"]
CONTROLS: tuple[Arm, ...] = ("untouched", "random")
NAMES = {"untouched": "the untouched data", "random": "random removal"}

# Classes and groups that are told of at each end: those that lose and those that gain most.
_EXTREMES = 3
# Accuracies are quotients: what is equal as a count may differ in its last bit.
_EQUAL = 1e-12


class Gain(BaseModel):
    """The difference in accuracy of a treated arm to a control, with two 95 % intervals and the wider of both.

    Student's interval over the seeds covers the noise of training, on this very test split; the bootstrap over seeds
    and samples covers the draw of the test samples, but thinks too well of few seeds. Each alone would at times promote
    by luck, so what decides is low = min, high = max.
    """

    model_config = ConfigDict(frozen=True)
    mean: float
    low: float
    high: float
    t: tuple[float, float] | None
    bootstrap: tuple[float, float]
    word: Word


class Change(BaseModel):
    """How the treated arm's mean accuracy on one class or group differs from the untouched arm's."""

    model_config = ConfigDict(frozen=True)
    by: Literal["class", "group"]
    name: str
    tested_on: int
    change: float
    called: tuple[str, str] | None = None
    """What a person calls such a part, and several: a class may be a range of a number. None as ``by`` says."""

    @property
    def noun(self) -> str:
        """What a person calls it."""
        return self.called[0] if self.called else self.by


class Verdict(BaseModel):
    """What a person can decide by, and what the gate decided."""

    model_config = ConfigDict(frozen=True)
    word: Word
    arm: Arm
    sentence: str
    """Why the word is the word."""
    promote: bool
    because: list[str]
    """Why it may become the current version; or what stands against it, and nothing else."""


def gain_of(treatment: np.ndarray, control: np.ndarray) -> Gain:
    """The gain of one arm over a control; of one seed no more than its size is said, whatever the test samples say.

    Args:
        treatment: s × n, whether, or how far, each of n test samples was answered right under each of s seeds.
        control: the same of the control, under the same seeds.
    """
    differences = seed_differences(treatment, control)
    s = len(differences)
    student = t_interval(differences)
    percentile = percentile_interval(bootstrap(treatment, control, np.random.default_rng(0)))
    low, high = (min(student[0], percentile[0]), max(student[1], percentile[1])) if student else percentile
    if min(treatment.min(initial=0), control.min(initial=0)) >= 0 and max(treatment.max(), control.max()) <= 1:
        low, high = max(low, -1.0), min(high, 1.0)  # of two shares no difference is larger
    word: Word = "no evidence"
    if s > 1 and (low > _EQUAL or high < -_EQUAL):
        word = "helps" if low > _EQUAL else "harms"
    return Gain(mean=float(differences.mean()), low=low, high=high, t=student, bootstrap=percentile, word=word)


def verdict_of(
    gains: dict[Arm, Gain],
    changes: list[Change],
    seeds: int,
    flagged: int,
    verification: Verification,
    objection: str | None = None,
    untested: int = 0,
    usual: dict[Arm, Gain] | None = None,
) -> Verdict:
    """Helps only if it helps against both controls, harms if it harms against either, else there is no evidence.

    Nor is there where without the few labels that the figure hangs on another word would stand: these may be typing
    errors, and a network that has learned nothing of such is measured as a worse one.

    Args:
        gains: of the treated arm, by control.
        changes: of all classes, and of groups if one likes.
        seeds: how many there were.
        flagged: how many samples are.
        verification: which arm is treated, and what the gate demands.
        objection: what else stands against a promotion, in words.
        untested: classes without a test sample.
        usual: gains without the few test labels that the figure hangs on; None where there are none.
    """
    words: dict[Arm, Word] = {control: gain.word for control, gain in gains.items()}
    by_all, by_usual = _word(gains, flagged), _word(usual or gains, flagged)
    word = by_all if by_all == by_usual else "no evidence"
    against = _objections(gains["random"], changes, word, flagged, verification) + ([objection] if objection else [])
    against += _objections_without_few(by_all, by_usual, usual, verification) if flagged else []
    worst = min((c.change for c in changes if c.by == "class"), default=0.0)
    noun = next((c.noun for c in changes if c.by == "class"), "class")
    reasons = [
        f"the lower bound against random removal, {gains['random'].low:+.2%}, is above the margin of "
        f"{verification.margin:+.2%}",
        f"no {noun} loses more than {verification.class_loss:.2%} (most: {max(0.0, -worst):.2%})",
    ]
    if untested:
        reasons.append(f"of {untested:,} classes nothing is known, for they have no test sample")
    return Verdict(
        word=word,
        arm=verification.treatment,
        sentence=_sentence(word, words, seeds, flagged, verification)
        if by_all == by_usual
        else f"it hangs on few test labels: {by_all} by all of them, {by_usual} without these; check these first",
        promote=not against,
        because=against or reasons,
    )


def _word(gains: dict[Arm, Gain], flagged: int) -> Word:
    words = {gain.word for gain in gains.values()}
    if "harms" in words:
        return "harms"
    return "helps" if flagged and words == {"helps"} else "no evidence"


def _objections(
    against_random: Gain, changes: list[Change], word: Word, flagged: int, verification: Verification
) -> list[str]:
    if not flagged:
        return ["nothing was flagged, so there is nothing to promote"]
    objections = []
    if not against_random.low > verification.margin + _EQUAL:
        objections.append(
            f"the lower bound against random removal, {against_random.low:+.2%}, is not above the margin of "
            f"{verification.margin:+.2%}"
        )
    losers = [c for c in changes if c.by == "class" and c.change < -verification.class_loss - _EQUAL]
    if losers:
        worst = min(losers, key=lambda c: (c.change, c.name))
        others = f" and {len(losers) - 1:,} more" if len(losers) > 1 else ""
        objections.append(
            f"{worst.noun} {worst.name}{others} loses more than the {verification.class_loss:.2%} allowed "
            f"({worst.change:+.2%} on {worst.tested_on:,} samples)"
        )
    if word == "harms":
        objections.append("it harms")
    return objections


def _objections_without_few(
    by_all: Word, by_usual: Word, usual: dict[Arm, Gain] | None, verification: Verification
) -> list[str]:
    """What stands against a promotion where the few test labels that the figure hangs on do not count."""
    if by_all != by_usual:
        return ["its verdict would hang on few test labels"]
    if usual is None or usual["random"].low > verification.margin + _EQUAL:
        return []
    return [
        "without the few test labels that the figure hangs on, the lower bound against random removal, "
        f"{usual['random'].low:+.2%}, is not above the margin of {verification.margin:+.2%}"
    ]


def _sentence(word: Word, words: dict[Arm, Word], seeds: int, flagged: int, verification: Verification) -> str:
    deed = "removing" if verification.remedy == "remove" else "relabelling"
    if not flagged:
        return "nothing was flagged, so no data differ from the untouched ones"
    if seeds == 1:
        return "one seed says nothing of the noise of training; let verification.seeds be 5 or more"
    if word == "helps":
        return f"{deed} the {flagged:,} flagged beats the untouched data and random removal alike"
    if word == "harms":
        worse = " and than ".join(NAMES[control] for control, said in words.items() if said == "harms")
        return f"{deed} the {flagged:,} flagged is worse than {worse}"
    unsure = " and ".join(NAMES[control] for control, said in words.items() if said != "helps")
    return f"the difference to {unsure} may as well be nothing; more seeds or test samples may tell"


def most_changed(changes: list[Change]) -> list[Change]:
    """Of the classes and of the groups, those that lose and those that gain most; not all, there may be thousands."""
    extremes = []
    for by in ("class", "group"):
        order = sorted((c for c in changes if c.by == by), key=lambda c: (c.change, c.name))
        extremes += order if len(order) <= 2 * _EXTREMES else order[:_EXTREMES] + order[-_EXTREMES:]
    return extremes


def verdict_lines(facts: dict[str, Any]) -> list[str]:
    """The lines of a summary about the facts of a verification."""
    verdict, accuracy, calibration = facts["verdict"], facts["accuracy"], facts["calibration"]
    arm = verdict["arm"]
    other, words = ("relabelled", "relabelled") if arm == "cleaned" else ("cleaned", "removed instead")
    lines = [
        f"before: {accuracy['untouched']:.2%}",
        f"after: {accuracy[arm]:.2%}{', relabelled' if arm == 'relabelled' else ''}",
        *([f"{words}: {accuracy[other]:.2%}"] if other in accuracy else []),
        f"as many removed at random: {accuracy['random']:.2%}",
        *(
            [f"calibration error: {calibration['untouched']:.2%} before, {calibration[arm]:.2%} after"]
            if calibration
            else []
        ),
        *(f"after against {control}: {_format_gain(gain)}" for control, gain in facts["gains"][arm].items()),
        *_change_lines(facts["changes"]),
        f"means of {_seeds(facts['seeds'])} on {facts['tested_on']:,} test samples",
        *_suspects(facts),
        *_seen(facts, arm),
        *_few(facts, arm),
        f"verdict: {verdict['word']}: {verdict['sentence']}",
    ]
    gate = "passes the gate, which asks for no more:" if verdict["promote"] else "stays a candidate because"
    return [*lines, f"{gate} {'; '.join(verdict['because'])}"]


def _seeds(count: int) -> str:
    return f"{count} paired seeds" if count > 1 else "one seed"


def _format_gain(gain: dict[str, Any]) -> str:
    return f"{gain['mean']:+.2%} (95 % [{gain['low']:+.2%}, {gain['high']:+.2%}]), {gain['word']}"


def _change_lines(changes: list[dict[str, Any]]) -> list[str]:
    lines = []
    for by, several in (("class", "classes"), ("group", "groups")):
        order = sorted((c for c in changes if c["by"] == by and c["change"]), key=lambda c: -abs(c["change"]))
        most = [f"{c['name']} {c['change']:+.2%} (of {c['tested_on']:,})" for c in order[:_EXTREMES]]
        called = (order[0].get("called") or (by, several))[1] if most else several
        lines += [f"{called} that change most: {', '.join(most)}"] if most else []
    return lines


def _suspects(facts: dict[str, Any]) -> list[str]:
    count, trusted = facts["suspects"], facts["trusted"]
    if not count:
        return []
    line = f"{count:,} of {facts['tested_on']:,} test labels are suspect themselves (examination.parquet)"
    if trusted is None:
        return [line]
    gains = "; ".join(f"against {control} {_format_gain(gain)}" for control, gain in trusted["gains"].items())
    return [f"{line}; without them: {gains}"]


def _seen(facts: dict[str, Any], arm: str) -> list[str]:
    """Test samples that training knows by a copy: what a network answers of these is memory."""
    kinds, unseen = facts.get("seen"), facts.get("unseen")
    if not kinds:
        return []
    count = f"{sum(kinds.values()):,} of {facts['tested_on']:,} test samples have a copy in training"
    line = f"{count} ({', '.join(f'{kind} {n:,}' for kind, n in kinds.items())}; copies.remove leaks)"
    if unseen is None:
        return [line]
    return [f"{line}; without them: {_figures(unseen, arm)}"]


def _few(facts: dict[str, Any], arm: str) -> list[str]:
    """Test labels that make up most of what the figure counts."""
    few, usual = facts.get("few"), facts.get("usual")
    if not few or usual is None:
        return []
    line = (
        f"{facts.get('figure', 'accuracy')} hangs on few labels: {few['weigh']:,} of {facts['tested_on']:,} test "
        "labels make up more than half of the squares that it counts"
    )
    others = f" and {few['far']:,} more that lie beyond ten spreads from the median" if few["far"] else ""
    return [f"{line} (typing errors, or a heavy tail); without these{others}: {_figures(usual, arm)}"]


def _figures(part: dict[str, Any], arm: str) -> str:
    """The accuracies of a part of the test samples, and the gains there."""
    names = {"untouched": "before", arm: "after", "random": "as many removed at random"}
    figures = ", ".join(f"{name} {part['accuracy'][of]:.2%}" for of, name in names.items() if of in part["accuracy"])
    gains = "; ".join(f"against {control} {_format_gain(gain)}" for control, gain in part["gains"].items())
    return f"{figures}; {gains}"
