"""Norms of factored gradients, from their factors."""

from __future__ import annotations

from typing import Literal

import torch

from tasks.kernels.axes import Float
from tasks.kernels.outer import joined_outer

Join = Literal["sum", "stack"]


def factored_norms(
    residual: Float[torch.Tensor, "n c k"], features: Float[torch.Tensor, "n c h1"], joined: Join
) -> tuple[Float[torch.Tensor, "n"], Float[torch.Tensor, "n"]]:
    """L1 and L2 norm of each sample's gradient of c terms r_c ⊗ h_c, one for each checkpoint.

    ``stack``ed terms do not meet: ‖g‖₁ = Σ_c ‖r_c‖₁ ‖h_c‖₁ and ‖g‖₂² = Σ_c ‖r_c‖₂² ‖h_c‖₂².
    Of a ``sum``, ‖g‖₂² = Σ_{c,c'} ⟨r_c, r_c'⟩ ⟨h_c, h_c'⟩, and ‖g‖₁ takes the built matrix, in slices of samples.
    No matrix is built for one term.

    Returns:
        (L1, L2), each n.
    """
    if residual.shape[1] == 1 or joined == "stack":
        l1 = (residual.abs().sum(2) * features.abs().sum(2)).sum(1)
        squares = (residual.square().sum(2) * features.square().sum(2)).sum(1)
        return l1, squares.sqrt()
    squares = ((residual @ residual.transpose(1, 2)) * (features @ features.transpose(1, 2))).sum((1, 2))
    size = max(1, (1 << 22) // (residual.shape[2] * features.shape[2]))
    l1 = torch.cat(
        [
            joined_outer(r, h, "sum").abs().sum(1)
            for r, h in zip(residual.split(size), features.split(size), strict=True)
        ]
    )
    # Rounding may leave a tiny negative number where terms cancel.
    return l1, squares.clamp_min(0).sqrt()
