"""L2 norm of the gradient."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class L2(Detector, kind="l2"):
    """‖g‖₂, read off the shards. The paper ranks by Σ g², which is the same order."""

    pointwise: ClassVar[bool] = True

    def score(self, evidence: Evidence) -> np.ndarray:
        """The stored norm."""
        return evidence.gradients.scalar("l2").astype(np.float64)
