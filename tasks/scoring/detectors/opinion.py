"""What opinions from outside say against the given label."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class OpinionMargin(Detector, kind="opinion"):
    """max_{j≠y} p_j − p_y of class probabilities from outside (option opinions), the mean of the opinions that speak.

    Probabilities and not their logarithms: how small a model makes the classes that it excludes tells little of them.
    A sample of which none speaks gets 0, as one between two classes: above all whose label is confirmed and below all
    whose label is contradicted.
    """

    sees: ClassVar[tuple[str, ...]] = ("opinions",)
    pointwise: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> np.ndarray:
        """Between −1 (all confirm the label) and 1."""
        evidence.need_opinions(f"detector {self.name}")
        margins = opinion_margins(evidence)
        spoken = ~np.isnan(margins)
        return np.where(spoken, margins, 0).sum(1) / np.maximum(spoken.sum(1), 1)


def opinion_margins(evidence: Evidence) -> np.ndarray:
    """The margin of the label under each opinion, n × o float64; NaN where it says nothing."""
    from tasks.kernels.margins import margin

    columns = [margin(p, evidence.labels) for p in evidence.opinions]
    return np.stack(columns, 1) if columns else np.empty((len(evidence), 0))
