"""What a summary says of the samples beside their number: copies, contradictions, neighbours, how labels are spelt."""

from __future__ import annotations

import unicodedata
from typing import Any

# Names that a line gives; a reader looks the others up.
_NAMED = 5
# From there on a figure's fraction says nothing.
_LARGE = 10_000


def copy_lines(facts: dict[str, Any], copies: dict[str, Any] | None = None, apart: int = 0) -> list[str]:
    """Copies, and samples whose inputs bear another label elsewhere.

    Args:
        facts: of the ingested samples.
        copies: what find_copies found; None of a run that did not look.
        apart: pairs of near copies that could not share a fold.
    """
    return _equal_lines(facts) + (_near_lines(copies, apart) if copies else [])


def _equal_lines(facts: dict[str, Any]) -> list[str]:
    duplicates, contradictions = facts["duplicates"], facts.get("contradictions", {"samples": 0, "contents": 0})
    if not duplicates:
        return []
    if "repeats" in facts:
        return [
            f"{facts['repeats']:,} different rows in all: equal ones are repeats, dealt among splits and folds singly",
            f"{contradictions['samples']:,} samples repeat a row that bears another label too: no network can tell",
        ]
    leaks = facts["leaking_duplicates"]
    told = f"; {leaks:,} samples stand both in train and in a held-out split" if leaks else ""
    lines = [f"{duplicates:,} exact duplicates{told}"]
    if contradictions["samples"]:
        lines.append(
            f"{contradictions['samples']:,} samples have the inputs of another sample and another label "
            f"({contradictions['contents']:,} different inputs; view contradictions)"
        )
    return lines


def _near_lines(copies: dict[str, Any], apart: int) -> list[str]:
    lines, near, leaks = [], copies["near"], copies["leaks"].get("near", 0)
    if alike := copies.get("alike"):
        told = "a fixed camera or a series; near copies are told and share nothing, and none is left out"
        lines.append(f"{alike['pictures']:,} of {alike['of']:,} pictures look nearly alike: {told}")
    elif near["samples"]:
        told = f"; {leaks:,} held-out samples have theirs in train" if leaks else ""
        lines.append(f"{near['samples']:,} samples have near copies (view copies){told}")
    if copies["contradictions"]:
        told = "look at these first (view contradictions)"
        lines.append(f"{copies['contradictions']:,} samples have a near copy under another label: {told}")
    if apart:
        lines.append(f"{apart:,} pairs of near copies share no fold: a crowd of them, or a base, holds them apart")
    if copies["left_out"]:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in copies["left_out"].items())
        lines.append(f"{sum(copies['left_out'].values()):,} training samples left out by copies.remove: {reasons}")
    if emptied := copies.get("emptied"):
        count = f"{len(emptied):,} label has" if len(emptied) == 1 else f"{len(emptied):,} labels have"
        lines.append(f"{count} no training sample left, for all were copies: {_some(emptied)}")
    if copies["skipped"]:
        reasons = ", ".join(f"{reason} {count:,}" for reason, count in copies["skipped"].items())
        lines.append(f"not compared, to find near copies: {reasons}")
    return lines


def label_lines(facts: dict[str, Any]) -> list[str]:
    """Spellings that were merged, classes that look alike or may mean that none is known, classes without a test.

    Args:
        facts: of the ingested samples.
    """
    lines = []
    if forms := facts.get("label_forms"):
        told = [f"{_given(form)} as {form['label']!r} ({form['rows']:,} rows)" for form in forms]
        lines.append(f"labels read as one class: {_some(told)}")
    if variants := facts.get("case_variants"):
        alike = _some(["/".join(names) for names in variants])
        lines.append(f"classes that differ only in case, blanks or invisible letters: {alike}")
    if doubtful := facts.get("doubtful_labels"):
        names = ", ".join(map(repr, doubtful))
        lines.append(f"{names} is taken for a class; if it means that no label is known, empty it in the source")
    if untested := facts.get("untested_classes"):
        count = f"{len(untested):,} class has" if len(untested) == 1 else f"{len(untested):,} classes have"
        lines.append(f"{count} no test sample, so that no proof speaks of it: {_some(untested)}")
    if untrained := facts.get("untrained_classes"):
        lines.append(f"left out for want of training samples of their class: {_some(untrained)}")
    return lines


def weight_lines(facts: dict[str, Any]) -> list[str]:
    """What rows count by in training, where not all count the same.

    Args:
        facts: of the ingested samples.
    """
    if "weight_column" not in facts:
        return []
    weights = facts["weight_range"]
    told = (
        f"{_figure(weights['least'])} to {_figure(weights['most'])}; they tell as much as "
        f"{weights['effective']:,.0f} equal ones"
    )
    counted = "training losses count by them, gradients, budgets and accuracy count each row once"
    return [f"weights: {facts['weight_column']} ({told}); {counted}"]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) or value >= _LARGE else f"{value:.4g}"


def neighbour_lines(votes: dict[str, Any] | None, examination: dict[str, Any] | None) -> list[str]:
    """How many of the nearest neighbours are found, where some may be missed; nothing where all are.

    Args:
        votes: facts of the training samples' votes.
        examination: facts of the held-out labels' audit.
    """
    recall = {"train": (votes or {}).get("recall")} | ((examination or {}).get("recall") or {})
    told = ", ".join(f"{share:.2%} ({split})" for split, share in recall.items() if share is not None)
    if not votes or not told:
        return []
    return [
        f"the {votes['neighbours']:,} nearest of {votes['among']:,} training samples are looked for by an index, which "
        f"finds {told} of them, by a sample"
    ]


def _given(form: dict[str, Any]) -> str:
    """As it is written; by numbers where one cannot see how that differs."""
    is_same = unicodedata.normalize("NFC", form["given"]) == form["label"]
    return ascii(form["given"]) if is_same else repr(form["given"])


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
