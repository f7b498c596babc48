"""LiSSA: influence with the inverse of the curvature as a Neumann series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from tasks.scoring.detectors.influence import Referred, Summed
from tasks.scoring.evidence import Evidence

if TYPE_CHECKING:
    import torch

    from tasks.kernels.gradients import Gradients


class LiSSA(Summed, Referred):
    """−xᵀ g with x ≈ (H + λI)⁻¹ v (Agarwal, Bullins & Hazan, JMLR 2017); deterministic without ``batch``.

    Cut off at ``depth`` the series leaves directions of little curvature short, as more damping would.
    """

    kind: Literal["lissa"] = "lissa"
    repeats: int = Field(default=1, ge=1, description="Series that are averaged, where there are mini-batches.")

    def of_fold(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> torch.Tensor:
        """One product of the curvature with a vector for each term."""
        from tasks.kernels.influence import lissa

        curvature, damping = self._curvature(gradients, evidence, members)
        reference = self._reference(gradients, evidence, members)
        repeats = self.repeats if self.batch else 1
        return self._summed(
            lambda series, generator: lissa(
                gradients, curvature, damping, series, generator, repeats=repeats, reference=reference
            )
        )
