"""Self-influence with the exact inverse of the curvature, for small models."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from tasks.scoring.detectors.influence import MatrixInfluence
from tasks.scoring.evidence import Evidence

if TYPE_CHECKING:
    import torch

    from tasks.kernels.gradients import Gradients


class SelfInfluence(MatrixInfluence, kind="self_influence"):
    """gᵀ (H + λI)⁻¹ g: how far a sample's own weight lowers its own loss (Koh & Liang, ICML 2017)."""

    pointwise: ClassVar[bool] = True

    @property
    def instead(self) -> str:
        """A detector that needs no matrix."""
        return "self_lissa"

    def of_fold(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> torch.Tensor:
        """Cholesky of H + λI and a triangular solve, float64."""
        from tasks.kernels.influence import self_influence

        self._small(gradients)
        return self_influence(gradients, *self._curvature(gradients, evidence, members))
