"""Self-LiSSA: self-influence with the inverse of the curvature as a Neumann series."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import Field

from tasks.scoring.detectors.influence import SeriesInfluence
from tasks.scoring.evidence import Evidence

if TYPE_CHECKING:
    import torch

    from tasks.kernels.gradients import Gradients


class SelfLiSSA(SeriesInfluence, kind="self_lissa"):
    """gᵀ x with x ≈ (H + λI)⁻¹ g, a series for each sample, all on the same mini-batches."""

    pointwise: ClassVar[bool] = True
    # A series for each sample costs n times what lissa's does; of 32 samples a term is cheap, and the same for all.
    batch: ClassVar[int | None] = 32
    depth: int = Field(default=10, ge=1, description="Terms of the series.")

    def of_fold(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> torch.Tensor:
        """In pieces of samples of a few million values."""
        from tasks.kernels.influence import self_lissa

        curvature, damping = self._curvature(gradients, evidence, members)
        return self._sum_series(lambda series, generator: self_lissa(gradients, curvature, damping, series, generator))
