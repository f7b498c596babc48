"""Squared norms of a convolution's gradients without its patches.

Unfolding copies each pixel once for each of the kernel's k offsets. But position t sees the pixel p(t) + j of the
padded input for offset j, all positions the same shift:

    shifted_ghost    patches' Gram matrix Σ_j ⟨x_{p(t)+j}, x_{p(t')+j}⟩ is a sum of k parts of the pixels' one
    shifted_built    G_j = Σ_t δ_t ⊗ x_{p(t)+j}; where the stride is one, and rows of δ are padded to the width of x,
                     pixels p(t) + j follow one another, and are a slice of x

Kernels overlap themselves most where strides are small; a patch embedding, whose patches do not meet, is unfolded.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch.nn import functional

from tasks.kernels.axes import Float

Route = Literal["ghost", "built", "shifted_ghost", "shifted_built"]
# Multiplications of a matrix product in the time of one value that is unfolded, added or squared, or read by a product
# as narrow as one offset's. Measured on a CPU (tests/benchmarks/README.md, The gradient engine).
_UNFOLDED, _ADDED, _READ = 64, 32, 8


class Convolution(NamedTuple):
    """The geometry of a two-dimensional convolution (one-dimensional ones are one pixel high)."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    groups: int

    @property
    def is_pointwise(self) -> bool:
        """Whether patches are pixels."""
        return self.kernel == (1, 1) and self.padding == (0, 0)

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the padded input."""
        return height + 2 * self.padding[0], width + 2 * self.padding[1]

    def offsets(self, width: int) -> list[int]:
        """j, in pixels of a padded input of that width."""
        return [
            a * self.dilation[0] * width + b * self.dilation[1]
            for a in range(self.kernel[0])
            for b in range(self.kernel[1])
        ]


def costs(delta: tuple[int, ...], inputs: tuple[int, ...], how: Convolution, share: float) -> dict[Route, float]:
    """Multiplications, and what takes as long, of each route to one sample's ‖G‖²; in groups those of one.

    With t positions, P pixels, k offsets, i = k·c values a patch, t' positions of padded rows:

        ghost            s·t² (o + i) + 64 t·i
        built            t·o·i + 64 t·i + 32 o·i
        shifted_ghost    P² c + t² o + 32 k·t²
        shifted_built    t'·o·i + 8 k·t' (o + c) + 32 o·i

    Args:
        delta: o × height × width.
        inputs: c × height × width.
        how: the geometry.
        share: s of a Gram matrix is made.
    """
    o, c, k = delta[0] // how.groups, inputs[0] // how.groups, math.prod(how.kernel)
    t, i = delta[1] * delta[2], k * c
    unfolded = 0 if how.is_pointwise else _UNFOLDED * t * i
    found: dict[Route, float] = {
        "ghost": share * t * t * (o + i) + unfolded,
        "built": t * o * i + unfolded + _ADDED * o * i,
    }
    if how.groups == 1 and not how.is_pointwise:
        height, width = how.padded(*inputs[1:])
        found["shifted_ghost"] = (height * width) ** 2 * c + t * t * (o + _ADDED * k)
        if how.stride == (1, 1):
            rows = delta[1] * width
            found["shifted_built"] = rows * o * i + _READ * k * rows * (o + c) + _ADDED * o * i
    return found


def shifted_ghost(
    delta: Float[torch.Tensor, "n o height width"],
    inputs: Float[torch.Tensor, "n c height_in width_in"],
    how: Convolution,
) -> Float[torch.Tensor, "n"]:
    """‖G‖² by Gram matrices."""
    n, _, h, w = delta.shape
    x, width = _pixels(inputs, how)
    p = x.shape[2]
    gram = torch.bmm(x.transpose(1, 2), x)
    down, right = how.stride[0] * width, how.stride[1]
    strides = (p * p, down * p, right * p, down, right)
    patches = sum(gram.as_strided((n, h, w, h, w), strides, offset * (p + 1)) for offset in how.offsets(width))
    flat = delta.flatten(2)
    product = torch.bmm(flat.transpose(1, 2), flat) * patches.reshape(n, h * w, h * w)  # pyright: ignore[reportAttributeAccessIssue]
    return product.sum((1, 2)).clamp_min_(0)


def shifted_built(
    delta: Float[torch.Tensor, "n o height width"],
    inputs: Float[torch.Tensor, "n c height_in width_in"],
    how: Convolution,
) -> Float[torch.Tensor, "n"]:
    """‖G‖² by the gradient, one offset after the other; of stride one."""
    x, width = _pixels(inputs, how)
    h, w = delta.shape[2:]
    rows = (h - 1) * width + w
    left = functional.pad(delta, (0, width - w)).flatten(2)[:, :, :rows]
    squares = delta.new_zeros(len(delta))
    for offset in how.offsets(width):
        squares += torch.bmm(left, x[:, :, offset : offset + rows].transpose(1, 2)).square_().sum((1, 2))
    return squares


def _pixels(inputs: torch.Tensor, how: Convolution) -> tuple[torch.Tensor, int]:
    """(padded inputs, n × c × pixels; their width)."""
    vertical, horizontal = how.padding
    padded = functional.pad(inputs, (horizontal, horizontal, vertical, vertical))
    return padded.flatten(2), padded.shape[3]
