"""What the data can carry, decided before any figure is stated."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tasks.kernels.lapses import Lapses, label_evidence
from tasks.kernels.tails import Tail

# A class that the observers confirm less often than this, in samples and as a share of those that bear it, is unknown
# to them: whether its other samples are wrong or merely never recognised is not to be told.
_CONFIRMED, _CONFIRMED_SHARE = 5, 0.05
# Standard errors: one side of a 95 % interval.
_CERTAIN = 1.96
# A share is stated as a figure where its interval ends at no more than so many times its lower end, and at no more than
# ``REACH`` times the figure, or where no dissent need be wrong and at most so much may be; else as a range.
_FOLD, _NEGLIGIBLE = 2.5, 0.02
REACH = 2.0
"""So many times a stated share its interval may reach: of half the wrong labels a perfect order has an F1 of 2/3."""
_LEARNED = "mistakes that they have learned, as those of a rule, would not show"
_UNSEEN = "or follow from what no input tells"
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
    """network, unpredictability, rare classes or far labels"""
    passed: bool
    """Whether the data can carry what is asked of it."""
    text: str
    """One sentence, with the figures it rests on."""


def diagnose_network(p: np.ndarray, votes: np.ndarray, choice: np.ndarray, labels: np.ndarray) -> Diagnosis:
    """Whether the observers know more of the labels than how frequent each of them is.

    Accuracy would not do: of a class that 2 % bear the most frequent label is right in 98 %, however well the observers
    know it.

    Args:
        p: of the held-out network, n × k.
        votes: of the neighbours, n × k.
        choice: what both together predict, n classes.
        labels: n given classes.
    """
    evidence = label_evidence(p, votes, labels)
    passed = evidence >= _CERTAIN
    accuracy, common = float((choice == labels).mean()), float(np.bincount(labels).max() / len(labels))
    more = "more" if evidence >= 0 else "less"
    text = (
        f"the held-out network and neighbours predict {accuracy:.1%} of the labels, the most frequent label alone "
        f"{common:.1%}; to them the labels are {abs(evidence):.1f} standard errors {more} likely than the same labels "
        "in random order"
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


def is_point(low: float, rate: float, high: float, reach: float = REACH) -> bool:
    """Whether the interval around a share's rate is narrow enough to state the rate."""
    return (not low and high <= _NEGLIGIBLE) or 0 < high <= min(_FOLD * low, reach * rate)


def diagnose_unpredictability(lapses: Lapses, low: float, high: float, *, point: bool) -> Diagnosis:
    """Whether wrong labels can be told from labels that are hard to predict."""
    if point:
        text = (
            f"dissent from {lapses.rate:.1%} of the labels does not fade however sure the observers are "
            f"(95 % [{lapses.low:.1%}, {lapses.high:.1%}] by the fit): these labels are wrong, {_UNSEEN}"
            if lapses.low
            else f"hardly any dissent is left, where the observers are sure or elsewhere; {_LEARNED}"
        )
        return Diagnosis("unpredictability", True, text)
    unseen = f", {_UNSEEN}" if low else ""
    text = (
        f"from {low:.1%} to {high:.1%} of the labels are wrong{unseen}: what the observers dissent from beyond the "
        "lower figure may be wrong or merely hard to predict, and these data cannot tell which; a person's "
        f"answers about a random sample can (gradsieve review RUN_ID --sample 100); {_LEARNED}"
    )
    return Diagnosis("unpredictability", False, text)


def diagnose_tail(tail: Tail, *, stated: bool) -> Diagnosis:
    """Whether numbers lie so far from the others that they are typing errors, or a heavy tail: which, nobody knows.

    Args:
        tail: of the labels as they were given.
        stated: whether a share of wrong labels is.
    """
    count, n = int(tail.far.sum()), len(tail.far)
    where = f"more than ten spreads of {tail.spread:,.6g} from the median of {tail.centre:,.6g}"
    if not count:
        return Diagnosis("far labels", True, f"no training label lies {where}")
    farthest = tail.numbers[np.abs(tail.numbers - tail.centre).argmax()]
    low, high = tail.bounds
    # Other runs in the lake may have words for labels.
    where_far = f"TRY_CAST(label AS DOUBLE) NOT BETWEEN {low:.10g} AND {high:.10g}"
    sql = f"SELECT source, source_row, split, label FROM samples WHERE run_id = 'RUN_ID' AND {where_far}"
    text = (
        f"{count:,} of {n:,} training labels lie {where} (the farthest is {farthest:,.10g}): typing errors or a heavy "
        f"tail, and {tail.weight:.0%} of the squares that R² counts"
        + ("; the range of wrong labels takes all of them into its upper end" if stated else "")
        + f'; look at these first (gradsieve sql "{sql}")'
        + (", or take logarithms of the column" if tail.numbers.min() > 0 else "")
    )
    return Diagnosis("far labels", False, text)
