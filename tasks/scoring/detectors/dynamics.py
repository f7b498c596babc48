"""Training dynamics: how hard the label was to learn for the networks that were trained on it."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class Dynamics(Detector):
    """Base of the detectors that read one figure of tasks/kernels/dynamics.py."""

    kind: Any = None
    sees: ClassVar[tuple[str, ...]] = ("dynamics",)
    pointwise: ClassVar[bool] = True
    apart: ClassVar[bool] = True
    sign: ClassVar[float] = 1.0

    def score(self, evidence: Evidence) -> np.ndarray:
        """Mean over the networks trained on the sample under its label; NaN where there is none."""
        return self.sign * evidence.dynamics(self.kind)


class Aum(Dynamics, kind="aum"):
    """Area under the margin (Pleiss et al., NeurIPS 2020), turned round: mean of max_{j≠y} z_j − z_y while training."""

    sign: ClassVar[float] = -1.0


class MeanLoss(Dynamics, kind="mean_loss"):
    """Mean loss over all steps of the training."""


class El2n(Dynamics, kind="el2n"):
    """‖softmax(z) − onehot(y)‖₂ early in the training (Paul, Ganguli & Dziugaite, NeurIPS 2021)."""

    compares: ClassVar[bool] = True
