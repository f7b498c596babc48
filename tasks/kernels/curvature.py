"""The curvature of the mean loss as one operator.

C, the mean over n samples of positive semidefinite C_i (p × p), offers C v, C itself, its traces and a bound:

    SoftmaxHessian   C_i = (diag(p_i) − p_i p_iᵀ) ⊗ h_i h_iᵀ, the Hessian of the cross entropy of logits W h in W,
                     whatever the label and its smoothing, which enter the loss linearly
    Fisher           C_i = g_i g_iᵀ, the empirical Fisher information

Products are taken in the precision of the vector that comes in; the matrix, traces and bound in float64.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch

from tasks.kernels.axes import Float, Int
from tasks.kernels.gradients import Gradients
from tasks.kernels.pieces import pieces

# Values of a temporary that is passed over four times.
_IN_CACHE = 1 << 18


@runtime_checkable
class Curvature(Protocol):
    """C, the mean of n positive semidefinite p × p matrices C_i."""

    @property
    def samples(self) -> int:
        """n."""
        ...

    @property
    def parameters(self) -> int:
        """p."""
        ...

    @property
    def device(self) -> torch.device:
        """Where they are."""
        ...

    def product(self, v: Float[torch.Tensor, "m p"]) -> Float[torch.Tensor, "m p"]:
        """C v, in the precision of v."""
        ...

    def matrix(self) -> Float[torch.Tensor, "p p"]:
        """C, float64."""
        ...

    def traces(self) -> Float[torch.Tensor, "n"]:
        """tr C_i, float64."""
        ...

    def bound(self) -> float:
        """No eigenvalue of C is larger; for few samples, which are built as rows."""
        ...

    def at(self, index: Int[torch.Tensor, "r"]) -> Curvature:
        """The mean over some of the samples."""
        ...


@dataclass(frozen=True)
class Fisher:
    """C_i = g_i g_iᵀ."""

    gradients: Gradients

    @property
    def samples(self) -> int:
        """n."""
        return self.gradients.samples

    @property
    def parameters(self) -> int:
        """p."""
        return self.gradients.parameters

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.gradients.device

    def product(self, v: Float[torch.Tensor, "m p"]) -> Float[torch.Tensor, "m p"]:
        """1/n Σ_i ⟨v, g_i⟩ g_i."""
        return self.gradients.weighted_sum(self.gradients.dots(v).div_(self.samples))

    def matrix(self) -> Float[torch.Tensor, "p p"]:
        """1/n Σ_i g_i g_iᵀ, in pieces of built rows."""
        p = self.parameters
        out = torch.zeros(p, p, dtype=torch.float64, device=self.gradients.device)
        for s in pieces(self.samples, p):
            rows = self.gradients.dense(s).double()
            out.addmm_(rows.T, rows)
        return out.div_(self.samples)

    def traces(self) -> Float[torch.Tensor, "n"]:
        """‖g_i‖²."""
        return self.gradients.squares()

    def bound(self) -> float:
        """The largest eigenvalue itself."""
        return _largest(self.gradients.dense(slice(None)).double())

    def at(self, index: Int[torch.Tensor, "r"]) -> Fisher:
        """The mean over some of the samples."""
        return Fisher(self.gradients.at(index))


@dataclass(frozen=True)
class SoftmaxHessian:
    """C_i = (diag(p_i) − p_i p_iᵀ) ⊗ h_i h_iᵀ; parameters are W row by row, p = k·h1."""

    probabilities: Float[torch.Tensor, "n k"]
    features: Float[torch.Tensor, "n h1"]

    @property
    def samples(self) -> int:
        """n."""
        return len(self.features)

    @property
    def parameters(self) -> int:
        """p."""
        return self.probabilities.shape[1] * self.features.shape[1]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.features.device

    def product(self, v: Float[torch.Tensor, "m p"]) -> Float[torch.Tensor, "m p"]:
        """1/n Σ_i (diag(p_i) − p_i p_iᵀ)(V h_i) ⊗ h_i: two matrix products."""
        (_, k), h1, m = self.probabilities.shape, self.features.shape[1], len(v)
        right = v.view(m * k, h1).T
        # A product of few rows and many columns is a sixth faster than that of many rows and few columns.
        turned = m * k > h1
        out = v.new_zeros(h1, m * k) if turned else v.new_zeros(m * k, h1)
        most = _IN_CACHE if turned else _IN_CACHE // 2
        memory = v.new_empty(min(self.samples, max(1, most // (m * k))), m * k)
        for s in pieces(self.samples, m * k, most):
            p, features = self.probabilities[s].to(v.dtype).unsqueeze(1), self.features[s].to(v.dtype)
            products = torch.mm(features, right, out=memory[: len(features)])
            change = products.unflatten(1, (m, k)).mul_(p)
            change.addcmul_(p, change.sum(2, keepdim=True), value=-1)
            out.addmm_(*((features.T, products) if turned else (products.T, features)))
        out = out.div_(self.samples)
        return (out.T if turned else out).reshape(m, k * h1)

    def matrix(self) -> Float[torch.Tensor, "p p"]:
        """Block (a, b) is 1/n Σ_i (p_a [a = b] − p_a p_b) h_i h_iᵀ: one matrix product for each a, of b ≥ a."""
        (_, k), h1 = self.probabilities.shape, self.features.shape[1]
        out = torch.zeros(k, h1, k, h1, dtype=torch.float64, device=self.features.device)
        for s in pieces(self.samples, k * h1):
            p, features = self.probabilities[s].double(), self.features[s].double()
            for a in range(k):
                weights = -p[:, a : a + 1] * p[:, a:]
                weights[:, 0] += p[:, a]
                left = (weights.unsqueeze(2) * features.unsqueeze(1)).flatten(1)  # q × (k − a)·h1
                out[a, :, a:] += (features.T @ left).unflatten(1, (k - a, h1))
        for a in range(1, k):
            out[a, :, :a] = out[:a, :, a].permute(2, 0, 1)
        return out.view(k * h1, k * h1).div_(self.samples)

    def traces(self) -> Float[torch.Tensor, "n"]:
        """(1 − ‖p_i‖²) ‖h_i‖²."""
        each = []
        for s in pieces(self.samples, sum(self.probabilities.shape[1:] + self.features.shape[1:]), _IN_CACHE):
            p, features = self.probabilities[s].double(), self.features[s].double()
            each.append((p - p.square()).sum(1).clamp_min(0) * features.square().sum(1))
        return torch.cat(each)

    def bound(self) -> float:
        """The largest eigenvalue of 1/n Σ_i a_i h_i h_iᵀ, with a_i = max_a 2 p_a (1 − p_a).

        diag(p) − ppᵀ ⪯ a_i I: Gershgorin's circles have centre and radius p_a (1 − p_a).
        """
        p = self.probabilities.double()
        most = (2 * p * (1 - p)).amax(1, keepdim=True).clamp_min(0)
        return _largest(most.sqrt() * self.features.double())

    def at(self, index: Int[torch.Tensor, "r"]) -> SoftmaxHessian:
        """The mean over some of the samples."""
        return SoftmaxHessian(self.probabilities[index], self.features[index])


def _largest(rows: torch.Tensor) -> float:
    """The largest eigenvalue of the mean of their outer products, or of their inner products: it is the same."""
    n, p = rows.shape
    gram = rows @ rows.T if n <= p else rows.T @ rows
    return float(torch.linalg.eigvalsh(gram)[-1].clamp_min(0)) / n
