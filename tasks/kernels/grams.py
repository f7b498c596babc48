"""Gram matrices of positions, and squared norms of gradients by the ghost-norm identity.

For G = Σ_t δ_t ⊗ a_t, ‖G‖² = Σ_{t,t'} ⟨δ_t, δ_t'⟩ ⟨a_t, a_t'⟩. Both Gram matrices are symmetric: pairs t < t' are
multiplied once and counted twice. Layers of one input (queries, keys and values; gate and up) share its Gram matrix.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from tasks.kernels.axes import Float, Int
from tasks.kernels.positions import at


class Gram:
    """⟨a_t, a_t'⟩ of inputs that ``layers`` layers have in common: made for the first that asks, kept for the rest."""

    def __init__(self, layers: int = 1) -> None:
        self.layers = layers
        self._strips: list[torch.Tensor] | None = None
        self._part: tuple[torch.Tensor, torch.Tensor, Gram] | None = None

    def strips(self, inputs: Float[torch.Tensor, "n t i"]) -> Iterable[torch.Tensor]:
        """See ``doubled``; one strip at a time where no other layer needs them."""
        if self.layers == 1:
            return doubled(inputs)
        if self._strips is None:
            self._strips = list(doubled(inputs))
        return self._strips

    def part(
        self, order: Int[torch.Tensor, "n s"], inputs: Float[torch.Tensor, "n t i"]
    ) -> tuple[Float[torch.Tensor, "n s i"], Gram]:
        """The inputs at some positions, shared by layers that leave out the same ones, one after the other."""
        if self._part is None or not torch.equal(self._part[0], order):
            self._part = order, at(order, inputs), Gram(self.layers)
        return self._part[1:]

    def forget(self) -> None:
        """Free the memory."""
        self._strips, self._part = None, None


def strip_rows(t: int, device: torch.device) -> int:
    """Rows of a t × t Gram matrix that are made at a time, each from the diagonal on.

    Four strips leave out 3/8 of the matrix; narrower ones than of 32 rows lose more in the product than they leave out.
    On a GPU, where launches count, one.
    """
    return t if device.type == "cuda" else max(32, -(-t // 4))


def ghost_is_cheaper(t: int, o: int, i: int, rows: int, layers: int = 1) -> bool:
    """s·t (o + i/layers) < o·i: s·t² (o + i) multiplications for two Gram matrices, t·o·i for G itself.

    s = (1 + rows/t) / 2 is the share of a Gram matrix that its strips hold; its inputs' part is shared by ``layers``.
    """
    return (t + min(rows, t)) / 2 * (o + i / layers) < o * i


def strips(x: Float[torch.Tensor, "n t i"]) -> Iterator[torch.Tensor]:
    """x xᵀ in strips of rows (n × rows × what is left of t), each without what is left of the diagonal block."""
    rows = strip_rows(x.shape[1], x.device)
    for first in range(0, x.shape[1], rows):
        yield torch.bmm(x[:, first : first + rows], x[:, first:].transpose(1, 2))


def doubled(x: Float[torch.Tensor, "n t i"]) -> Iterator[torch.Tensor]:
    """Those strips with what stands right of the diagonal block times two, as it stands below it as well."""
    for strip in strips(x):
        strip[:, :, strip.shape[1] :].mul_(2)
        yield strip


def ghost_squares(delta: Float[torch.Tensor, "n t o"], doubled: Iterable[torch.Tensor]) -> Float[torch.Tensor, "n"]:
    """Σ_{t,t'} ⟨δ_t, δ_t'⟩ ⟨a_t, a_t'⟩, of the doubled strips of the inputs."""
    squares = delta.new_zeros(len(delta))
    for left, right in zip(strips(delta), doubled, strict=True):
        squares += (left * right).sum((1, 2))
    return squares.clamp_min_(0)
