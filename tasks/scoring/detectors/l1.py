"""L1 norm of the gradient."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class L1(Detector, kind="l1"):
    """‖g‖₁, read off the shards."""

    pointwise: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> np.ndarray:
        """The stored norm."""
        return evidence.gradients.scalar("l1").astype(np.float64)
