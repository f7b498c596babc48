"""Margin of the held-out network's outputs against the given label."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class Margin(Detector, kind="margin"):
    """max_{j≠y} z_j − z_y of the logits: the log-odds of the best other class."""

    sees: ClassVar[tuple[str, ...]] = ("probabilities",)
    pointwise: ClassVar[bool] = True
    apart: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> np.ndarray:
        """In nats."""
        from tasks.kernels.margins import margin

        return margin(evidence.logits, evidence.labels)
