"""Losses by sample, and their gradients with respect to the network's output in closed form.

With t the target of a sample, n × k (one-hot for classes), ε the label smoothing, and z the outputs:

    cross_entropy         ℓ = −Σ_j q_j log softmax(z)_j          ∂ℓ/∂z = softmax(z) − q    q = (1 − ε) t + ε/k
    binary_cross_entropy  ℓ = Σ_j BCE(σ(z_j), q_j)               ∂ℓ/∂z = σ(z) − q          q = (1 − ε) t + ε/2
    squared_error         ℓ = ½ Σ_j (z_j − q_j)²                 ∂ℓ/∂z = z − q             q = (1 − ε) t + ε/k
    likelihood            ℓ = −z                                 ∂ℓ/∂z = −1                z is a log-likelihood itself

Label smoothing: Szegedy et al., CVPR 2016. Binary cross entropy over k classes is one against the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch.nn import functional

from tasks.kernels.axes import Float, Int, Shaped

LossKind = Literal["cross_entropy", "binary_cross_entropy", "squared_error", "likelihood"]


class Outcome(NamedTuple):
    """What a network says about n labelled samples."""

    loss: Float[torch.Tensor, "n"]
    """ℓ, in nats where it is an entropy."""
    p_label: Float[torch.Tensor, "n"]
    """Probability of the given label."""
    predicted: Shaped[torch.Tensor, "n *m"]
    """Most probable class; of other targets what they make of the outputs (tasks/dataset/targets)."""
    p_predicted: Float[torch.Tensor, "n"]
    """Its probability."""


@dataclass(frozen=True)
class Loss:
    """One of the losses above; ``labels`` are classes (n integers) or targets (n × k floats)."""

    kind: LossKind = "cross_entropy"
    smoothing: float = 0.0

    def losses(self, logits: Float[torch.Tensor, "n k"], labels: Shaped[torch.Tensor, "n *k"]) -> torch.Tensor:
        """ℓ of each sample, n; differentiable."""
        if self.kind == "likelihood":
            return -logits[:, 0]
        if self.kind == "cross_entropy":
            return functional.cross_entropy(logits, labels, reduction="none", label_smoothing=self.smoothing)
        target = self._smooth(_targets(labels, logits))
        if self.kind == "binary_cross_entropy":
            return functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1)
        return (logits - target).square().sum(1) / 2

    def residuals(self, logits: Float[torch.Tensor, "n k"], labels: Shaped[torch.Tensor, "n *k"]) -> torch.Tensor:
        """∂ℓ/∂z of each sample, n × k, in the precision of ``logits`` also where the network is sure of its answer."""
        if self.kind == "likelihood":
            return -torch.ones_like(logits)
        if self.kind == "cross_entropy" and labels.dim() == 1:
            return self._of_classes(logits, labels)
        target = _targets(labels, logits)
        if self.kind == "squared_error":
            return logits - self._smooth(target)
        if self.kind == "binary_cross_entropy":
            # σ(z) − 1 = −σ(−z): the difference itself cancels in float32 where σ(z) is nearly one.
            sign = 1 - 2 * target.round()
            hard = sign * torch.sigmoid(sign * logits)
            return hard + (target.round() - self._smooth(target))
        return torch.softmax(logits, dim=1) - self._smooth(target)

    def _of_classes(self, logits: Float[torch.Tensor, "n k"], labels: Int[torch.Tensor, "n"]) -> torch.Tensor:
        """p_y − 1 as the negative sum of the others: the difference itself cancels where p_y is nearly one."""
        index = labels.unsqueeze(1)
        others = torch.softmax(logits, dim=1).scatter(1, index, 0.0)
        hard = others.scatter(1, index, -others.sum(1, keepdim=True))
        if not self.smoothing:
            return hard
        target = _targets(labels, logits)
        return hard + (target - self._smooth(target))

    def probabilities(self, logits: Float[torch.Tensor, "n k"]) -> Float[torch.Tensor, "n k"]:
        """What the outputs say of each class: softmax, sigmoid, or the output itself within [0, 1]."""
        if self.kind == "cross_entropy":
            return torch.softmax(logits, dim=1)
        if self.kind == "likelihood":
            return logits.exp()
        return torch.sigmoid(logits) if self.kind == "binary_cross_entropy" else logits.clamp(0, 1)

    def outcome(self, logits: Float[torch.Tensor, "n k"], labels: Int[torch.Tensor, "n"]) -> Outcome:
        """Loss, probability of the given label, and the most probable class."""
        p = self.probabilities(logits)
        # The class of the largest output: where probabilities are clamped or rounded to one, several are the largest.
        predicted = logits.argmax(dim=1)
        p_label = p.gather(1, labels.unsqueeze(1)).squeeze(1)
        p_predicted = p.gather(1, predicted.unsqueeze(1)).squeeze(1)
        return Outcome(self.losses(logits, labels), p_label, predicted, p_predicted)

    def _smooth(self, target: torch.Tensor) -> torch.Tensor:
        share = 2 if self.kind == "binary_cross_entropy" else target.shape[1]
        return target.mul(1 - self.smoothing).add_(self.smoothing / share) if self.smoothing else target


def _targets(labels: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    if labels.dim() == 2:
        return labels.to(logits.dtype)
    # A comparison and no scatter: vmap vectorises it.
    return (labels.unsqueeze(1) == torch.arange(logits.shape[1], device=labels.device)).to(logits.dtype)
