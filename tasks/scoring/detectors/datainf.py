"""DataInf: influence with the mean of the damped samples' inverses for the inverse."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from tasks.scoring.detectors.influence import ReferenceInfluence, in_base
from tasks.scoring.evidence import Evidence

if TYPE_CHECKING:
    import torch

    from tasks.kernels.gradients import Gradients


class DataInf(ReferenceInfluence, kind="datainf"):
    """Kwon et al. (ICLR 2024) in their sign, positive = harmful; the gradient counts as one layer."""

    damping: float = Field(
        default=0.1, gt=0, description="λ as a share of mean ‖g‖² / p, the authors' lambda_const (there a tenth)."
    )

    def of_fold(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> torch.Tensor:
        """Four products with the factors."""
        from tasks.kernels.curvature import Fisher
        from tasks.kernels.influence import damping_of, datainf

        base = in_base(gradients, evidence, members)
        damping = damping_of(Fisher(base), self.damping)
        return datainf(gradients, damping, self._reference(gradients, evidence, members), base)
