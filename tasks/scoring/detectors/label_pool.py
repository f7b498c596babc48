"""Log-odds that no doubt of two observers explains the label."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tasks.scoring.canary_evidence import CanaryEvidence
from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence

if TYPE_CHECKING:
    from tasks.kernels.label_pools import LabelFit


class LabelPool(Detector, kind="label_pool"):
    """log P(wrong, y | x)/P(right, y | x), where right labels are drawn from a pool of network and neighbours
    (tasks/kernels/label_pools.py).
    """

    sees: ClassVar[tuple[str, ...]] = ("probabilities", "votes")
    apart: ClassVar[bool] = True

    @property
    def relative(self) -> bool:
        """The pool is fitted to the labels that were given."""
        return True

    def why_not(self, evidence: Evidence) -> str | None:
        """A number falls into the right range as well where it is wrong, and beside it."""
        return "strata that border on one another" if evidence.target.ordered else None

    def score(self, evidence: Evidence) -> np.ndarray:
        """In nats; above 0 where the label is more likely wrong than right."""
        fit = evidence.once("label pool", lambda: _fit(evidence))
        rows = evidence.ranks if isinstance(evidence, CanaryEvidence) else np.arange(len(evidence))
        return fit.log_odds(rows, evidence.labels)


def _fit(evidence: Evidence) -> LabelFit:
    """To the given labels in the base whose class the observers recognise; to all in the base if there is none."""
    from tasks.kernels.label_pools import fit_pools
    from tasks.kernels.lapses import consensus
    from tasks.scoring.diagnosis import recognised_classes

    given = evidence.with_given_labels
    p, votes, labels, base = given.probabilities, given.votes, given.labels, given.in_base
    choice, _ = consensus(p, votes)
    known = recognised_classes(choice[base], labels[base], p.shape[1])[labels] & base
    return fit_pools(p, votes, labels, known if known.any() else base, by_pairs=given.target.kind != "labels")
