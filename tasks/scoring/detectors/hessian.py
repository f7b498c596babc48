"""Influence with the exact inverse of the curvature, for small models."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.scoring.detectors.influence import MatrixInfluence, ReferenceInfluence
from tasks.scoring.evidence import Evidence

if TYPE_CHECKING:
    import torch

    from tasks.kernels.gradients import Gradients


class Hessian(MatrixInfluence, ReferenceInfluence, kind="hessian"):
    """−vᵀ (H + λI)⁻¹ g (Koh & Liang, ICML 2017)."""

    @property
    def instead(self) -> str:
        """A detector that needs no matrix."""
        return "lissa or datainf"

    def of_fold(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> torch.Tensor:
        """Cholesky of H + λI, float64."""
        from tasks.kernels.influence import exact

        self._small(gradients)
        curvature, damping = self._curvature(gradients, evidence, members)
        return exact(gradients, curvature, damping, self._reference(gradients, evidence, members))
