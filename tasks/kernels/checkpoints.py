"""One gradient of a sample from its gradients at several checkpoints.

average   g = 1/c Σ_i g_i
stack     g = 1/√c [g_1; …; g_c], so that ⟨g, g'⟩ = 1/c Σ_i ⟨g_i, g_i'⟩: TracInCP with equal step sizes
          (Pruthi et al., NeurIPS 2020)
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch

from tasks.kernels.axes import Float
from tasks.kernels.norms import factored_norms


class Combination(NamedTuple):
    """What is stored of n samples."""

    columns: dict[str, torch.Tensor]
    """n × width each."""
    l1: Float[torch.Tensor, "n"]
    """L1 norm of the gradient, or of its projection where that is what is stored."""
    l2: Float[torch.Tensor, "n"]
    """L2 norm of the gradient; exact but for the average of several projected ones, which is that of what is stored."""
    layer_norms: Float[torch.Tensor, "n l"] | None
    """L2 norm by layer; of several checkpoints the root mean square."""


def combine(
    columns: list[dict[str, torch.Tensor]],
    squares: list[torch.Tensor | None],
    how: Literal["average", "stack"],
    *,
    unit: bool = False,
) -> Combination:
    """Join the gradients (or factors) of c checkpoints, and take their norms.

    Args:
        columns: for each checkpoint ``gradient``, or ``residual`` and ``features``, n × width.
        squares: for each checkpoint the exact ‖g‖² by layer, n × l; or None.
        how: one of the above; of one checkpoint both are itself.
        unit: the gradients are normalised, so that L2 norms are those of the squares: of several checkpoints the root
            mean square, also where they are averaged.
    """
    c = len(columns)
    exact = [square for square in squares if square is not None]
    mean_squares = torch.stack(exact).mean(0) if exact else None
    layer_norms = None if mean_squares is None else mean_squares.sqrt()
    if "residual" in columns[0]:
        scale = 1 / c if how == "average" else 1 / math.sqrt(c)
        residual = torch.stack([one["residual"] for one in columns], 1) * scale
        features = torch.stack([one["features"] for one in columns], 1)
        l1, l2 = factored_norms(residual, features, "sum" if how == "average" else "stack")
        return Combination({"residual": residual.flatten(1), "features": features.flatten(1)}, l1, l2, layer_norms)
    gradients = [one["gradient"] for one in columns]
    if c == 1:
        gradient = gradients[0]
    elif how == "stack":
        gradient = torch.cat(gradients, 1) / math.sqrt(c)
    else:
        gradient = torch.stack(gradients).mean(0)
    if mean_squares is not None and (c == 1 or how == "stack" or unit):
        l2 = mean_squares.sum(1).sqrt()
    else:
        l2 = torch.linalg.vector_norm(gradient, dim=1)
    return Combination({"gradient": gradient}, gradient.abs().sum(1), l2, layer_norms)
