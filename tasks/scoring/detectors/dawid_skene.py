"""Log-odds that the label is wrong, by how often each observer errs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class DawidSkene(Detector, kind="dawid_skene"):
    """log Σ_{j≠y} T_j/T_y, T the chance of each true class by Dawid & Skene (1979) (tasks/kernels/dawid_skene.py).

    Three observers: the held-out network's class, the neighbours' most frequent label, the given label; each opinion
    from outside is one more, which is silent where it says nothing. How each errs is learned from samples in the base
    under their given labels.
    """

    sees: ClassVar[tuple[str, ...]] = ("probabilities", "votes")

    @property
    def relative(self) -> bool:
        """How the labels err is learned from those that were given."""
        return True

    def score(self, evidence: Evidence) -> np.ndarray:
        """In nats; above 0 where the label is more likely wrong than right."""
        from tasks.kernels.dawid_skene import confusions, log_odds_wrong

        original = evidence.with_given_labels
        learned = confusions(_said(original)[original.in_base], len(evidence.classes))
        return log_odds_wrong(_said(evidence), learned, evidence.labels)


def _said(evidence: Evidence) -> np.ndarray:
    """The class by each observer, n × o; the label last."""
    from tasks.kernels.dawid_skene import SILENT

    outside = [np.where(np.isnan(p).any(1), SILENT, np.nan_to_num(p).argmax(1)) for p in evidence.opinions]
    return np.stack([evidence.probabilities.argmax(1), evidence.votes.argmax(1), *outside, evidence.labels], 1)
