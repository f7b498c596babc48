"""Factored gradients built."""

from __future__ import annotations

from typing import Literal

import torch

from tasks.kernels.axes import Float


def joined_outer(
    residual: Float[torch.Tensor, "n c k"], features: Float[torch.Tensor, "n c h1"], joined: Literal["sum", "stack"]
) -> Float[torch.Tensor, "n p"]:
    """Σ_c r_c ⊗ h_c (p = k·h1), or the c products side by side (p = c·k·h1); row-major over (k, h1)."""
    if joined == "sum" and residual.shape[1] > 1:
        return (residual.transpose(1, 2) @ features).flatten(1)
    return (residual.unsqueeze(3) * features.unsqueeze(2)).flatten(1)
