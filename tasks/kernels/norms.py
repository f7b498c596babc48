"""Norms of rank-one gradients, from their factors."""

from __future__ import annotations

import torch

from tasks.kernels.axes import Float


def rank_one_norms(
    residual: Float[torch.Tensor, "n k"], features: Float[torch.Tensor, "n h1"]
) -> tuple[Float[torch.Tensor, "n"], Float[torch.Tensor, "n"]]:
    """‖r ⊗ h‖₁ = ‖r‖₁ ‖h‖₁ and ‖r ⊗ h‖₂ = ‖r‖₂ ‖h‖₂ of each sample: no matrix is built.

    Returns:
        (L1, L2), each n.
    """
    l1 = residual.abs().sum(1) * features.abs().sum(1)
    l2 = torch.linalg.vector_norm(residual, dim=1) * torch.linalg.vector_norm(features, dim=1)
    return l1, l2
