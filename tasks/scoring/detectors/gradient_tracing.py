"""Gradient tracing: TracIn at the kept checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.scoring.detectors.influence import ReferenceInfluence
from tasks.scoring.evidence import Evidence

if TYPE_CHECKING:
    import torch

    from tasks.kernels.gradients import Gradients


class GradientTracing(ReferenceInfluence, kind="gradient_tracing"):
    """−⟨v, g⟩ with v the mean gradient of the reference set (Pruthi et al., NeurIPS 2020).

    Of several checkpoints stacked it is the mean over them, TracInCP with equal step sizes.
    """

    def of_fold(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> torch.Tensor:
        """Two products with the factors."""
        from tasks.kernels.influence import gradient_tracing

        return gradient_tracing(gradients, self._reference(gradients, evidence, members))
