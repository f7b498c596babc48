"""Per-sample gradients of a linear head under cross entropy, in closed form and never as a matrix.

For logits z = W h + b, the loss ℓ = −log softmax(z)_y and one sample:

    ∂ℓ/∂W = r ⊗ h,   ∂ℓ/∂b = r,   r = softmax(z) − onehot(y)

so the whole gradient is the rank-one r ⊗ [h; 1], and one batched forward pass gives both factors.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from tasks.kernels.axes import Float, Int


class HeadGradient(NamedTuple):
    """Both factors of n head gradients, and the scalars that fall out on the way."""

    residual: Float[torch.Tensor, "n k"]
    """r, n × k."""
    features: Float[torch.Tensor, "n h1"]
    """[h; 1] (h alone for a head without bias), n × h1."""
    loss: Float[torch.Tensor, "n"]
    """Cross entropy in nats."""
    p_label: Float[torch.Tensor, "n"]
    """Probability of the given label."""
    predicted: Int[torch.Tensor, "n"]
    """Most probable class."""
    p_predicted: Float[torch.Tensor, "n"]
    """Its probability."""


def head_gradient(
    logits: Float[torch.Tensor, "n k"],
    features: Float[torch.Tensor, "n h"],
    labels: Int[torch.Tensor, "n"],
    *,
    bias: bool,
) -> HeadGradient:
    """Factors of ∂ℓ/∂[W b] for every sample of a batch.

    Args:
        logits: z, n × k.
        features: h, the head's input, n × h.
        labels: given classes, n.
        bias: whether the head has a bias, whose gradient is r itself.
    """
    log_p = torch.log_softmax(logits, dim=1)
    p = log_p.exp()
    picked = labels.unsqueeze(1)
    log_p_label = log_p.gather(1, picked).squeeze(1)
    p_label = p.gather(1, picked).squeeze(1)
    p_predicted, predicted = p.max(dim=1)
    # p_y − 1 as the negative sum of the others: for a confident sample the difference itself cancels in float32, and
    # log_softmax has already rounded log p_y to zero.
    others = p.scatter(1, picked, 0.0)
    residual = others.scatter(1, picked, -others.sum(1, keepdim=True))
    if bias:
        features = torch.cat([features, features.new_ones(len(features), 1)], dim=1)
    return HeadGradient(residual, features, -log_p_label, p_label, predicted, p_predicted)
