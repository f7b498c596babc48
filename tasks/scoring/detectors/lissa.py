"""LiSSA: influence with the inverse of the curvature as a Neumann series."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from tasks.scoring.detectors.influence import ReferenceInfluence, SeriesInfluence
from tasks.scoring.evidence import Evidence

if TYPE_CHECKING:
    import torch

    from tasks.kernels.curvature import Curvature
    from tasks.kernels.gradients import Gradients
    from tasks.kernels.influence import Series


class LiSSA(SeriesInfluence, ReferenceInfluence, kind="lissa"):
    """−xᵀ g with x ≈ (H + λI)⁻¹ v (Agarwal, Bullins & Hazan, JMLR 2017).

    Cut off at ``depth`` the series leaves directions of little curvature short, as more damping would.
    """

    def of_fold(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> torch.Tensor:
        """One product of the curvature with a vector for each term."""
        from tasks.kernels.influence import largest_eigenvalue, lissa, scale_of

        curvature, damping = self._curvature(gradients, evidence, members)
        reference = self._reference(gradients, evidence, members)

        def sum_up(series: Series, generator: torch.Generator) -> torch.Tensor:
            largest = self._once_a_fold(
                curvature, evidence, members, lambda: largest_eigenvalue(curvature, generator, gradients.dtype)
            )
            series = series._replace(scale=scale_of(largest, damping))
            return lissa(gradients, curvature, damping, series, generator, reference=reference)

        return self._sum_series(sum_up)

    def _once_a_fold(
        self, curvature: Curvature, evidence: Evidence, members: np.ndarray, make: Callable[[], float]
    ) -> float:
        """What is made of a curvature: a Hessian does not depend on labels, and planted ones have the same."""
        from tasks.kernels.curvature import SoftmaxHessian

        if not isinstance(curvature, SoftmaxHessian):
            return make()
        return evidence.once(f"largest eigenvalue of fold {evidence.folds[members[0]]}, seed {self.seed}", make)
