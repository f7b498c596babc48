"""Per-sample gradients of matrix parameters as sums of outer products, and what can be had of them unbuilt.

The gradient of a weight W (o × i) that is applied at t positions of each sample is G = Σ_t δ_t ⊗ a_t, with δ the
loss's gradient at the layer's output and a its input. Each class below holds δ and a of n samples and offers

    sketch     Σ_t (P_out δ_t) ⊗ (P_in a_t)
    gradient   G itself, n × o × i
    squares    ‖G‖² by the ghost-norm identity Σ_{t,t'} ⟨δ_t, δ_t'⟩ ⟨a_t, a_t'⟩ (Goodfellow, arXiv 1510.01799; Li et
               al., ICLR 2022), never below zero, where rounding would have it; or from G in slices of samples where
               that is cheaper (Bu et al., NeurIPS 2022)
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import torch
from torch.nn import functional

from tasks.kernels.axes import Float, Int
from tasks.kernels.grams import Gram, doubled, ghost_is_cheaper, ghost_squares, strip_rows
from tasks.kernels.positions import at, order_of, seen
from tasks.kernels.shifts import Convolution, Route, costs, shifted_built, shifted_ghost

# Values of a temporary (unfolded inputs, built gradients) that are made at a time: large enough for the matrix
# product, small enough for the cache.
_AT_A_TIME = 1 << 21

F = TypeVar("F", bound="Factors")


@runtime_checkable
class Factors(Protocol):
    """δ and a of n samples."""

    @property
    def delta(self) -> torch.Tensor:
        """δ, samples along its first axis."""
        ...

    def sketch(self, p_out: torch.Tensor, p_in: torch.Tensor, out: torch.Tensor) -> None:
        """``out`` (n × d_out × d_in) += Σ_t (P_out δ_t) ⊗ (P_in a_t)."""
        ...

    def gradient(self) -> torch.Tensor:
        """G, n × o × i."""
        ...

    def squares(self) -> torch.Tensor:
        """‖G‖², n."""
        ...

    def _replace(self, **changes: Any) -> Any:
        """As every named tuple has it."""
        ...


class Dense(NamedTuple):
    """A linear map at t positions."""

    delta: Float[torch.Tensor, "n t o"]
    inputs: Float[torch.Tensor, "n t i"]
    gram: Gram | None = None
    """Of the inputs, where other layers have the same."""

    def seen(self) -> Dense:
        """Without positions at which δ is zero: they add nothing."""
        rows = seen(self.delta) if self.delta.shape[1] > 1 else None
        order = None if rows is None else order_of(rows)
        if order is None:
            return self
        return Dense(at(order, self.delta), *(self.gram or Gram()).part(order, self.inputs))

    def sketch(self, p_out: torch.Tensor, p_in: torch.Tensor, out: torch.Tensor) -> None:
        """Two matrix products, and one batched."""
        left, right = self.delta @ p_out.T, self.inputs @ p_in.T
        if left.shape[1] == 1:
            # One position: n small outer products, which a batched product is slow at.
            out.addcmul_(left.transpose(1, 2), right)
        else:
            out.baddbmm_(left.transpose(1, 2), right)

    def write(self, out: torch.Tensor) -> None:
        """G into ``out``, n × o × i, whatever its strides."""
        if self.delta.shape[1] == 1:
            torch.mul(self.delta.transpose(1, 2), self.inputs, out=out)
        else:
            torch.bmm(self.delta.transpose(1, 2), self.inputs, out=out)

    def gradient(self) -> torch.Tensor:
        """One batched matrix product; of one position, one product of each pair of values."""
        if self.delta.shape[1] == 1:
            return self.delta.transpose(1, 2) * self.inputs
        return self.delta.transpose(1, 2) @ self.inputs

    def squares(self) -> torch.Tensor:
        """Ghost norm where that is the cheaper way."""
        _, t, o = self.delta.shape
        i = self.inputs.shape[2]
        if t == 1:
            return self.delta.square().sum((1, 2)) * self.inputs.square().sum((1, 2))
        gram = self.gram or Gram()
        if ghost_is_cheaper(t, o, i, strip_rows(t, self.delta.device), gram.layers):
            return ghost_squares(self.delta, gram.strips(self.inputs))
        slices = _slices(len(self.delta), o * i)
        return torch.cat([(self.delta[s].transpose(1, 2) @ self.inputs[s]).square().sum((1, 2)) for s in slices])


class Lookup(NamedTuple):
    """Rows of a table: a is one-hot, so G has δ_t added to the row that position t looked up."""

    indices: Int[torch.Tensor, "n t"]
    delta: Float[torch.Tensor, "n t h"]
    rows: int

    def sketch(self, p_out: torch.Tensor, p_in: torch.Tensor, out: torch.Tensor) -> None:
        """P_out's columns are looked up like the table's rows. (A table's rows are its o, its columns its i.)"""
        out.baddbmm_(p_out.T[self.indices].transpose(1, 2), self.delta @ p_in.T)

    def gradient(self) -> torch.Tensor:
        """n × rows × h."""
        n, _, h = self.delta.shape
        index = self.indices.unsqueeze(2).expand(-1, -1, h)
        return self.delta.new_zeros(n, self.rows, h).scatter_add_(1, index, self.delta)

    def squares(self) -> torch.Tensor:
        """Ghost norm: positions that looked up the same row share it."""
        same = self.indices.unsqueeze(1) == self.indices.unsqueeze(2)
        return ((self.delta @ self.delta.transpose(1, 2)) * same).sum((1, 2)).clamp_min(0)


class Convolutional(NamedTuple):
    """A convolution: position t sees a patch of its input; i is a patch's channels × height × width."""

    delta: Float[torch.Tensor, "n o height width"]
    inputs: Float[torch.Tensor, "n c height_in width_in"]
    how: Convolution

    def sketch(self, p_out: torch.Tensor, p_in: torch.Tensor, out: torch.Tensor) -> None:
        """P_in a_t for all patches is itself a convolution, with d_in filters: patches are never unfolded."""
        groups, (n, o) = self.how.groups, self.delta.shape[:2]
        channels = self.inputs.shape[1] // groups
        filters = p_in.view(len(p_in), channels, *self.how.kernel)
        filters = filters.repeat(groups, 1, 1, 1) if groups > 1 else filters
        _, stride, padding, dilation, _ = self.how
        patches = functional.conv2d(self.inputs, filters, None, stride, padding, dilation, groups)
        if groups == 1:
            out.baddbmm_(torch.matmul(p_out, self.delta.flatten(2)), patches.flatten(2).transpose(1, 2))
            return
        right = patches.view(n, groups, len(p_in), -1).transpose(1, 2).flatten(2)
        left = torch.einsum("qgo,ngot->nqgt", p_out.view(-1, groups, o // groups), self._delta_by_group()).flatten(2)
        out.baddbmm_(left, right.transpose(1, 2))

    def gradient(self) -> torch.Tensor:
        """Unfolded, n × o × i; in slices of samples."""
        n, o = self.delta.shape[:2]
        i = self.inputs.shape[1] // self.how.groups * math.prod(self.how.kernel)
        out = self.delta.new_empty(n, o, i)
        for s in self._slices():
            delta, patches = self._unfold(s)
            out[s] = (delta @ patches.transpose(2, 3)).flatten(1, 2)
        return out

    def squares(self) -> torch.Tensor:
        """By the cheapest route: Gram matrices or G, of patches group by group or of pixels."""
        route = self._route()
        if route == "shifted_ghost":
            pixels = math.prod(self.how.padded(*self.inputs.shape[2:]))
            shifted, values = shifted_ghost, pixels**2 + 2 * self.delta[0, 0].numel() ** 2
        elif route == "shifted_built":
            o, c = self.delta.shape[1], self.inputs.shape[1]
            shifted, values = shifted_built, self.delta[0].numel() + self.inputs[0].numel() + o * c
        else:
            return torch.cat([self._of_patches(s, ghost=route == "ghost") for s in self._slices()])
        return torch.cat([shifted(self.delta[s], self.inputs[s], self.how) for s in _slices(len(self.delta), values)])

    def _route(self) -> Route:
        """The cheapest (tasks/kernels/shifts.py); on a GPU, where shifts are not measured, of those of patches."""
        delta, inputs, device = self.delta.shape[1:], self.inputs.shape[1:], self.delta.device
        t, groups = delta[1] * delta[2], self.how.groups
        rows = strip_rows(t, device)
        if device.type == "cuda":
            i = inputs[0] // groups * math.prod(self.how.kernel)
            return "ghost" if ghost_is_cheaper(t, delta[0] // groups, i, rows) else "built"
        found = costs(delta, inputs, self.how, (1 + min(rows, t) / t) / 2)
        return min(found, key=found.__getitem__)

    def _of_patches(self, samples: slice, *, ghost: bool) -> torch.Tensor:
        delta, patches = self._unfold(samples)
        if not ghost:
            return (delta @ patches.transpose(2, 3)).square().sum((1, 2, 3))
        left, right = (side.flatten(0, 1).transpose(1, 2) for side in (delta, patches))
        return ghost_squares(left, doubled(right)).view(len(delta), -1).sum(1)

    def _delta_by_group(self) -> torch.Tensor:
        n, o = self.delta.shape[:2]
        return self.delta.reshape(n, self.how.groups, o // self.how.groups, -1)

    def _unfold(self, samples: slice) -> tuple[torch.Tensor, torch.Tensor]:
        """(δ, n × groups × o/groups × t; patches, n × groups × i × t)."""
        kernel, stride, padding, dilation, groups = self.how
        delta = self._delta_by_group()[samples]
        if self.how.is_pointwise:
            patches = self.inputs[samples, :, :: stride[0], :: stride[1]].flatten(2)
        else:
            patches = functional.unfold(self.inputs[samples], kernel, dilation, padding, stride)
        return delta, patches.reshape(len(delta), groups, -1, delta.shape[3])

    def _slices(self) -> list[slice]:
        t = self.delta.shape[2] * self.delta.shape[3]
        return _slices(len(self.delta), self.inputs.shape[1] * math.prod(self.how.kernel) * t)


def inverse_length(squares: Float[torch.Tensor, "n"]) -> Float[torch.Tensor, "n"]:
    """1 / ‖G‖ of ‖G‖²; 0 of 0, so that what is nothing stays nothing."""
    return torch.where(squares > 0, squares.rsqrt(), 0.0)


def of_unit_length(factors: F, squares: Float[torch.Tensor, "n"]) -> F:
    """Those of G_i / ‖G_i‖, by ``squares`` ‖G_i‖²: δ is divided."""
    return factors._replace(delta=factors.delta * inverse_length(squares).view(-1, *[1] * (factors.delta.dim() - 1)))


def _slices(n: int, values: int) -> list[slice]:
    """Slices of n samples of ``values`` values each that hold ``_AT_A_TIME`` together."""
    size = max(1, _AT_A_TIME // max(1, values))
    return [slice(first, min(first + size, n)) for first in range(0, n, size)]
