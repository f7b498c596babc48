"""cleanlab's confidence-weighted entropy."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class ConfidenceWeightedEntropy(Detector, kind="confidence_weighted_entropy"):
    """entropy over self-confidence of the held-out probabilities and the given label (tasks/kernels/margins.py)."""

    sees: ClassVar[tuple[str, ...]] = ("probabilities",)
    pointwise: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> np.ndarray:
        """One minus cleanlab's quality."""
        from tasks.kernels.margins import confidence_weighted_entropy

        return confidence_weighted_entropy(evidence.probabilities, evidence.labels)
