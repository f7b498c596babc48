"""cleanlab's normalized margin."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class NormalizedMargin(Detector, kind="normalized_margin"):
    """(1 + max_{j≠y} p_j − p_y)/2 of the held-out probabilities and the given label (tasks/kernels/margins.py)."""

    sees: ClassVar[tuple[str, ...]] = ("probabilities",)
    pointwise: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> np.ndarray:
        """One minus cleanlab's quality."""
        from tasks.kernels.margins import normalized_margin

        return normalized_margin(evidence.probabilities, evidence.labels)
