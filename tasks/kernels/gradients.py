"""n per-sample gradients as one operator: products with them, and never the n × p matrix.

Gradients g_i of n samples in p parameters, whole or as factors g_i = Σ_c r_c ⊗ h_c (tasks/kernels/outer.py), offer

    dots       ⟨v, g_i⟩          of factors Σ_c r_cᵀ V_c h_c
    weighted   Σ_i w_i g_i       of factors Σ_c R_cᵀ diag(w) H_c
    squares    ‖g_i‖²            of factors by the ghost-norm identity (tasks/kernels/factors.py)

Products are taken in the precision of the vector that comes in; rows are converted in pieces, so that float32
gradients can be summed in float64 without being held twice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch

from tasks.kernels.axes import Float, Int
from tasks.kernels.factors import Dense
from tasks.kernels.outer import joined_outer
from tasks.kernels.pieces import pieces


@runtime_checkable
class Gradients(Protocol):
    """g of n samples in p parameters."""

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

    @property
    def dtype(self) -> torch.dtype:
        """What they are held in."""
        ...

    def dots(self, v: Float[torch.Tensor, "m p"]) -> Float[torch.Tensor, "m n"]:
        """⟨v, g_i⟩, in the precision of v."""
        ...

    def weighted_sum(self, w: Float[torch.Tensor, "m n"]) -> Float[torch.Tensor, "m p"]:
        """Σ_i w_i g_i, in the precision of w."""
        ...

    def squares(self) -> Float[torch.Tensor, "n"]:
        """‖g_i‖², float64."""
        ...

    def dense(self, rows: slice) -> Float[torch.Tensor, "r p"]:
        """Some of them as rows."""
        ...

    def at(self, index: Int[torch.Tensor, "r"]) -> Gradients:
        """Some of them."""
        ...


@dataclass(frozen=True)
class Whole:
    """Gradients as rows, whole or projected."""

    rows: Float[torch.Tensor, "n p"]

    @property
    def samples(self) -> int:
        """n."""
        return self.rows.shape[0]

    @property
    def parameters(self) -> int:
        """p."""
        return self.rows.shape[1]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.rows.device

    @property
    def dtype(self) -> torch.dtype:
        """What they are held in."""
        return self.rows.dtype

    def dots(self, v: Float[torch.Tensor, "m p"]) -> Float[torch.Tensor, "m n"]:
        """V Gᵀ."""
        return torch.cat([v @ self.rows[s].to(v.dtype).T for s in pieces(self.samples, self.parameters)], 1)

    def weighted_sum(self, w: Float[torch.Tensor, "m n"]) -> Float[torch.Tensor, "m p"]:
        """W G."""
        out = w.new_zeros(len(w), self.parameters)
        for s in pieces(self.samples, self.parameters):
            out.addmm_(w[:, s], self.rows[s].to(w.dtype))
        return out

    def squares(self) -> Float[torch.Tensor, "n"]:
        """‖g_i‖², float64."""
        return torch.cat([self.rows[s].double().square().sum(1) for s in pieces(self.samples, self.parameters)])

    def dense(self, rows: slice) -> Float[torch.Tensor, "r p"]:
        """Themselves."""
        return self.rows[rows]

    def at(self, index: Int[torch.Tensor, "r"]) -> Whole:
        """Some of them."""
        return Whole(self.rows[index])


@dataclass(frozen=True)
class FactorGradients:
    """Gradients of c terms each: their ``sum``, p = k·h1, or one beside another (``stack``), p = c·k·h1."""

    residual: Float[torch.Tensor, "n c k"]
    features: Float[torch.Tensor, "n c h1"]
    joined: Literal["sum", "stack"]

    @property
    def samples(self) -> int:
        """n."""
        return self.residual.shape[0]

    @property
    def parameters(self) -> int:
        """p."""
        return self._groups * self.residual.shape[2] * self.features.shape[2]

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.residual.device

    @property
    def dtype(self) -> torch.dtype:
        """What they are held in."""
        return self.residual.dtype

    @property
    def _groups(self) -> int:
        """b: matrices that the terms of a sample are spread over."""
        return self.residual.shape[1] if self.joined == "stack" else 1

    def _by_group(self, rows: slice, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
        """(r, b × q × k; h, b × q × h1): all terms of a group in one row of q, so that each is a matrix product."""
        sides = (side[rows].to(dtype) for side in (self.residual, self.features))
        if self.joined == "stack":
            residual, features = (side.transpose(0, 1) for side in sides)
        else:
            residual, features = (side.flatten(0, 1).unsqueeze(0) for side in sides)
        return residual, features

    def _pieces(self, m: int) -> Iterator[slice]:
        _, c, k = self.residual.shape
        return pieces(self.samples, c * (m * k + self.features.shape[2]))

    def dots(self, v: Float[torch.Tensor, "m p"]) -> Float[torch.Tensor, "m n"]:
        """Σ_c r_cᵀ V_c h_c."""
        m, (_, c, k), h1 = len(v), self.residual.shape, self.features.shape[2]
        right = v.view(m, self._groups, k, h1).permute(1, 3, 0, 2).flatten(2)  # b × h1 × m·k
        out = v.new_empty(m, self.samples)
        for s in self._pieces(m):
            residual, features = self._by_group(s, v.dtype)
            terms = torch.einsum("bqmk,bqk->bqm", (features @ right).unflatten(2, (m, k)), residual)
            out[:, s] = (terms.sum(0) if self.joined == "stack" else terms[0].unflatten(0, (-1, c)).sum(1)).T
        return out

    def weighted_sum(self, w: Float[torch.Tensor, "m n"]) -> Float[torch.Tensor, "m p"]:
        """Σ_c R_cᵀ diag(w) H_c."""
        m, (_, c, k), h1 = len(w), self.residual.shape, self.features.shape[2]
        out = w.new_zeros(self._groups, m * k, h1)
        for s in self._pieces(m):
            residual, features = self._by_group(s, w.dtype)
            weights = w[:, s].T if self.joined == "stack" else w[:, s].T.repeat_interleave(c, 0)  # q × m
            left = (weights.unsqueeze(2) * residual.unsqueeze(2)).flatten(2)  # b × q × m·k
            out.baddbmm_(left.transpose(1, 2), features)
        return out.unflatten(1, (m, k)).transpose(0, 1).flatten(1)

    def squares(self) -> Float[torch.Tensor, "n"]:
        """‖g_i‖², float64, by ghost norms."""
        squares = []
        for s in self._pieces(1):
            residual, features = self.residual[s].double(), self.features[s].double()
            if self.joined == "stack":
                squares.append((residual.square().sum(2) * features.square().sum(2)).sum(1))
            else:
                squares.append(Dense(residual, features).squares())
        return torch.cat(squares)

    def dense(self, rows: slice) -> Float[torch.Tensor, "r p"]:
        """Outer products."""
        return joined_outer(self.residual[rows], self.features[rows], self.joined)

    def at(self, index: Int[torch.Tensor, "r"]) -> FactorGradients:
        """Some of them."""
        return FactorGradients(self.residual[index], self.features[index], self.joined)
