"""LiSSA: influence with the inverse of the curvature as a Neumann series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.scoring.detectors.influence import ReferenceInfluence, SeriesInfluence
from tasks.scoring.evidence import Evidence

if TYPE_CHECKING:
    import torch

    from tasks.kernels.gradients import Gradients


class LiSSA(SeriesInfluence, ReferenceInfluence, kind="lissa"):
    """−xᵀ g with x ≈ (H + λI)⁻¹ v (Agarwal, Bullins & Hazan, JMLR 2017).

    Cut off at ``depth`` the series leaves directions of little curvature short, as more damping would.
    """

    def of_fold(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> torch.Tensor:
        """One product of the curvature with a vector for each term."""
        from tasks.kernels.influence import lissa

        curvature, damping = self._curvature(gradients, evidence, members)
        reference = self._reference(gradients, evidence, members)
        return self._sum_series(
            lambda series, generator: lissa(gradients, curvature, damping, series, generator, reference=reference)
        )
