"""cleanlab's self-confidence."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class SelfConfidence(Detector, kind="self_confidence"):
    """1 − p_y of the held-out probabilities and the given label (tasks/kernels/margins.py)."""

    sees: ClassVar[tuple[str, ...]] = ("probabilities",)
    pointwise: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> np.ndarray:
        """One minus cleanlab's quality."""
        from tasks.kernels.margins import self_confidence

        return self_confidence(evidence.probabilities, evidence.labels)
