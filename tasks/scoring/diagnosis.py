"""What the data can carry, decided before any figure is stated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.kernels.lapses import Lapses, better_than_majority

# A class that the observers confirm less often than this, in samples and as a share of those that bear it, is unknown
# to them: whether its other samples are wrong or merely never recognised is not to be told.
_CONFIRMED, _CONFIRMED_SHARE = 5, 0.05
# One side of a 95 % interval.
_SIDE = 0.025
# A share with an interval up to so many times its lower end, or below so much, is stated as a figure; else as a range.
_FOLD, _NEGLIGIBLE = 2.5, 0.02
# Classes named in a sentence.
_NAMED = 5


DIAGNOSES = pa.schema(
    [
        pa.field("subject", pa.string(), nullable=False),
        pa.field("passed", pa.bool_(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)


@dataclass(frozen=True)
class Diagnosis:
    """One finding about a run's data, with its consequence."""

    subject: str
    """network, unpredictability or rare classes"""
    passed: bool
    """Whether the data can carry what is asked of it."""
    text: str
    """One sentence, with the figures it rests on."""


def diagnose_network(choice: np.ndarray, labels: np.ndarray, classes: int) -> Diagnosis:
    """Better than chance and than the most frequent label, by a sign test where the two differ."""
    from scipy.stats import binomtest

    better, worse = better_than_majority(choice, labels, classes)
    chance = binomtest(better, better + worse, alternative="greater").pvalue if better + worse else 1.0
    passed = bool(chance <= _SIDE)
    accuracy, common = float((choice == labels).mean()), float(np.bincount(labels).max() / len(labels))
    text = (
        f"the held-out network and neighbours predict {accuracy:.1%} of the labels, the most frequent label alone "
        f"{common:.1%}; where the two differ the observers are right {better:,} times and it is {worse:,} times"
    )
    why = "" if passed else ": no better than chance, so nothing is known of any label"
    return Diagnosis("network", passed, text + why)


def recognised_classes(choice: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """Which classes the observers confirm in five samples and a twentieth of those that bear them, k bool."""
    bearers = np.bincount(labels, minlength=classes)
    confirmed = np.bincount(labels[choice == labels], minlength=classes)
    return (confirmed >= _CONFIRMED) & (confirmed >= _CONFIRMED_SHARE * bearers) | (bearers == 0)


def diagnose_classes(recognised: np.ndarray, names: list[str] | None) -> Diagnosis:
    """Every class is recognised, or which are not."""
    missing = np.flatnonzero(~recognised)
    if not len(missing):
        return Diagnosis("rare classes", True, "the observers recognise every class")
    some = [names[index] if names else f"class {index}" for index in missing[:_NAMED]]
    more = f" and {len(missing) - _NAMED:,} more" if len(missing) > _NAMED else ""
    text = (
        f"the observers hardly ever recognise {', '.join(some)}{more}: whether a label there is wrong or merely rare "
        "is not known, and none is flagged"
    )
    return Diagnosis("rare classes", False, text)


def is_point(low: float, high: float) -> bool:
    """Whether an interval of the share is narrow enough to state a figure inside it."""
    return high <= _NEGLIGIBLE or 0 < high <= _FOLD * low


def diagnose_unpredictability(lapses: Lapses, low: float, high: float, *, point: bool) -> Diagnosis:
    """Whether wrong labels can be told from labels that are hard to predict."""
    if point:
        text = (
            f"dissent from {lapses.rate:.1%} of the labels does not fade however sure the observers are "
            f"(95 % [{lapses.low:.1%}, {lapses.high:.1%}] by the fit): wrong labels stand apart from hard ones"
            if lapses.low
            else "hardly any dissent is left, where the observers are sure or elsewhere; mistakes that they have "
            "learned, as those of a rule, would not show"
        )
        return Diagnosis("unpredictability", True, text)
    text = (
        f"from {low:.1%} to {high:.1%} of the labels are wrong: what the observers dissent from beyond the lower "
        "figure may be wrong or merely hard to predict, and these data cannot tell which; a person's answers about a "
        "random sample can (gradsieve review RUN_ID --sample 100)"
    )
    return Diagnosis("unpredictability", False, text)
