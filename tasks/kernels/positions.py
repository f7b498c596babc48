"""Positions of a sample that no loss sees: δ = ∂ℓ/∂output is exactly zero there, and all that is made of it.

Texts are padded, and a language model that classifies reads its last token alone: behind the last attention every
other position of the batch has δ = 0.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tasks.kernels.axes import Bool, Float, Int, Shaped

# Fewer positions than this share of all are worth a copy of them.
_WORTH = 0.75
# So many positions and columns are looked at first: where they are not zero, as they hardly ever are, all is said.
_ROWS, _COLUMNS = 16, 4


def seen(delta: Float[torch.Tensor, "*positions o"]) -> Bool[torch.Tensor, "*positions"] | None:
    """Where δ is not zero; None where that is at nearly all positions.

    None on a GPU as well: the host would wait for an answer that the next product's shape depends on.
    """
    if delta.device.type == "cuda" or not delta.numel():
        return None
    # In Python, as operators cost more than what so few values take. The step is odd, as texts' lengths may be even.
    flat = delta.reshape(-1, delta.shape[-1])
    some = flat[:: max(1, len(flat) // _ROWS) | 1, :_COLUMNS].tolist()
    if sum(map(any, some)) > _WORTH * len(some):
        return None
    # Without a copy of δ, which a comparison of all its values would be. What is not a number is not zero.
    rows = (delta.amax(-1) != 0) | (delta.amin(-1) != 0)
    return None if int(rows.sum()) > _WORTH * rows.numel() else rows


def order_of(rows: Bool[torch.Tensor, "n t"]) -> Int[torch.Tensor, "n s"] | None:
    """For each sample the positions that are seen, in order, filled up by others to the most that any sample has.

    None where that is nearly all of them.
    """
    most = max(1, int(rows.sum(1).max()))
    if most > _WORTH * rows.shape[1]:
        return None
    return rows.to(torch.uint8).argsort(dim=1, descending=True, stable=True)[:, :most]


def at(order: Int[torch.Tensor, "n s"], values: Float[torch.Tensor, "n t w"]) -> Float[torch.Tensor, "n s w"]:
    """The values of those positions."""
    return values[torch.arange(len(order), device=order.device).unsqueeze(1), order]


def linear(module: nn.Linear, x: Shaped[torch.Tensor, "*positions i"]) -> Shaped[torch.Tensor, "*positions o"]:
    """``module(x)``, whose backward pass leaves out positions at which δ is zero. Its weight asks for no gradient.

    On a CPU its output may be changed in place; on a GPU it is a view, and a network that does so is refused.
    """
    fits = x.dim() > 2 and x.device.type != "cuda" and not torch.is_autocast_enabled(x.device.type)
    if not fits or module.weight.requires_grad:
        out = functional.linear(x, module.weight, module.bias)
        return out.clone() if out._is_view() and x.device.type != "cuda" else out  # as in _product
    if x.requires_grad and torch.is_grad_enabled():
        return _Linear.apply(x, module.weight, module.bias)  # pyright: ignore[reportReturnType]
    return _product(x, module.weight, module.bias)


def _product(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """x Wᵀ + b in memory of its own: functional.linear gives a view, and hooks of one that ReLU changes in place see
    another δ."""
    out = x.new_empty(*x.shape[:-1], len(weight))
    rows, into = x.flatten(0, -2), out.view(-1, len(weight))
    torch.mm(rows, weight.T, out=into) if bias is None else torch.addmm(bias, rows, weight.T, out=into)
    return out


class _Linear(torch.autograd.Function):
    """x Wᵀ + b; backward δ W."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        ctx.save_for_backward(weight)
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, delta: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # pyright: ignore[reportIncompatibleMethodOverride]
        (weight,) = ctx.saved_tensors
        rows = seen(delta)
        if rows is None:
            return delta @ weight, None, None
        out = delta.new_zeros(*delta.shape[:-1], weight.shape[1])
        out[rows] = delta[rows] @ weight
        return out, None, None
