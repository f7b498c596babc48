"""Per-sample gradients of a linear head, in closed form and never as a matrix.

For outputs z = W h + b and one sample with the loss ℓ (tasks/kernels/losses.py):

    ∂ℓ/∂W = r ⊗ h,   ∂ℓ/∂b = r,   r = ∂ℓ/∂z (softmax(z) − onehot(y) for cross entropy)

so the whole gradient is the rank-one r ⊗ [h; 1], and one batched forward pass gives both factors.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from tasks.kernels.axes import Float, Shaped
from tasks.kernels.losses import Loss


class HeadGradient(NamedTuple):
    """Both factors of n head gradients."""

    residual: Float[torch.Tensor, "n k"]
    """r, n × k."""
    features: Float[torch.Tensor, "n h1"]
    """[h; 1] (h alone for a head without bias), n × h1."""


def head_gradient(
    logits: Float[torch.Tensor, "n k"],
    features: Float[torch.Tensor, "n h"],
    labels: Shaped[torch.Tensor, "n *k"],
    loss: Loss,
    *,
    bias: bool,
) -> HeadGradient:
    """Factors of ∂ℓ/∂[W b] for every sample of a batch.

    Args:
        logits: z, n × k.
        features: h, the head's input, n × h.
        labels: n given classes, or n × k targets.
        loss: ℓ.
        bias: whether the head has a bias, whose gradient is r itself.
    """
    if bias:
        features = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
    return HeadGradient(loss.residuals(logits, labels), features)
