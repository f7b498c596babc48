"""Seeded random projections of gradients: p parameters to d values, inner products kept in expectation.

Every projection R (d × p) here has E[RᵀR] = I, hence E⟨Rg, Rg'⟩ = ⟨g, g'⟩. Each parameter has a block of R of its own,
drawn from (seed, the parameter's name), so that the projection of a whole gradient is the sum of its parts' and nothing
of p × n values need exist at once. The same seed and names give the same R on every device and in every process.

    random       entries ±1/√d                          (Achlioptas, JCSS 2003)
    sparse       entries ±√(√p/d) with probability 1/√p (Li, Hastie & Church, KDD 2006)
    countsketch  one ±1 in each column                  (Charikar, Chen & Farach-Colton, 2002)
    kronecker    for a matrix parameter, P_out ⊗ P_in with entries ±1/√d_out and ±1/√d_in, d = d_out · d_in: a gradient
                 Σ_t δ_t ⊗ a_t becomes Σ_t (P_out δ_t) ⊗ (P_in a_t) and is never built (LoGra: Choe et al.,
                 arXiv 2405.13954). A vector parameter is a matrix of one column.

The variance of ⟨Rg, Rg'⟩ falls as 1/d for the first three, and only as 1/d_out + 1/d_in for kronecker on a matrix of
rank one: that is the price of its speed.
"""

from __future__ import annotations

import hashlib
import math
from typing import Literal

import torch

from tasks.kernels.axes import Float

ProjectionKind = Literal["kronecker", "random", "sparse", "countsketch"]
# A dense block of R larger than this many values is drawn anew for each batch instead of being kept.
_CACHE_VALUES = 1 << 26
# Rows of a dense block that are drawn at a time.
_DRAW_ROWS = 1 << 14


def johnson_lindenstrauss(n: int, distortion: float = 0.1) -> int:
    """Dimensions that keep all distances between n points within 1 ± ``distortion``: 4 ln n / (ε²/2 − ε³/3).

    Dasgupta & Gupta, 2003; the same number as scikit-learn's ``johnson_lindenstrauss_min_dim``.
    """
    return max(1, int(4 * math.log(max(2, n)) / (distortion**2 / 2 - distortion**3 / 3)))


def split_dimension(d: int) -> tuple[int, int]:
    """(d_out, d_in) with d_out · d_in = d, d_in the largest divisor up to √d: inputs are the costlier side."""
    inner = next(i for i in range(math.isqrt(d), 0, -1) if d % i == 0)
    return d // inner, inner


class Projection:
    """The blocks of one projection, drawn when first needed and kept on ``device``.

    Args:
        kind: which of the above.
        d: dimension of the result.
        seed: of all its blocks.
        device: where it is applied.
    """

    def __init__(self, kind: ProjectionKind, d: int, seed: int, device: torch.device) -> None:
        self.kind, self.d, self.seed, self.device = kind, d, seed, device
        self._blocks: dict[tuple[str | int, ...], torch.Tensor] = {}

    def add(self, name: str, gradients: Float[torch.Tensor, "n p"], out: Float[torch.Tensor, "n d"]) -> None:
        """``out`` += the projection of one parameter's gradients."""
        p = gradients.shape[1]
        if self.kind == "kronecker":
            p_out, p_in = self.factors(name, p, 1)
            out.view(len(out), len(p_out), len(p_in)).addcmul_((gradients @ p_out.T).unsqueeze(2), p_in.T)
        elif self.kind in ("sparse", "countsketch"):
            # (d × p sparse) · (p × n): the dense operand is only transposed, not copied.
            out += torch.sparse.mm(self._sparse(name, p), gradients.T).T
        elif p * self.d <= _CACHE_VALUES:
            out.addmm_(gradients, self._signs((name, "dense"), p, self.d, self.d))
        else:
            generator = _generator(self.seed, name, "dense")
            for first in range(0, p, _DRAW_ROWS):
                rows = min(_DRAW_ROWS, p - first)
                out.addmm_(gradients[:, first : first + rows], self._draw(generator, rows, self.d, self.d))

    def factors(self, name: str, outside: int, inside: int) -> tuple[torch.Tensor, torch.Tensor]:
        """(P_out, d_out × o; P_in, d_in × i) of a matrix parameter of o × i values; kronecker only."""
        d_out, d_in = split_dimension(self.d)
        p_out = self._signs((name, "out"), d_out, outside, d_out)
        return p_out, self._signs((name, "in"), d_in, inside, d_in)

    def _signs(self, key: tuple[str, str], rows: int, columns: int, d: int) -> torch.Tensor:
        block = (*key, rows, columns)
        if block not in self._blocks:
            self._blocks[block] = self._draw(_generator(self.seed, *key), rows, columns, d)
        return self._blocks[block]

    def _draw(self, generator: torch.Generator, rows: int, columns: int, d: int) -> torch.Tensor:
        signs = torch.randint(0, 2, (rows, columns), generator=generator, dtype=torch.int8)
        return signs.to(self.device, torch.float32).mul_(2).sub_(1).div_(math.sqrt(d))

    def _sparse(self, name: str, p: int) -> torch.Tensor:
        """This parameter's block, d × p in CSR form."""
        if (name, "sparse", p) not in self._blocks:
            generator = _generator(self.seed, name, "sparse")
            if self.kind == "countsketch":
                rows, columns = torch.randint(self.d, (p,), generator=generator), torch.arange(p)
                size = 1.0
            else:
                # In each column a binomial number of entries; drawn with replacement they are as good in expectation,
                # and duplicates, which are rare, add up.
                density = 1 / math.sqrt(p)
                entries = max(1, round(self.d * p * density))
                rows = torch.randint(self.d, (entries,), generator=generator)
                columns = torch.randint(p, (entries,), generator=generator)
                size = math.sqrt(p / entries)
            signs = torch.randint(0, 2, rows.shape, generator=generator).mul_(2).sub_(1).to(torch.float32)
            block = torch.sparse_coo_tensor(
                torch.stack([rows, columns]), signs * size, (self.d, p), check_invariants=True
            )
            self._blocks[name, "sparse", p] = block.coalesce().to_sparse_csr().to(self.device)
        return self._blocks[name, "sparse", p]


def _generator(seed: int, *names: str) -> torch.Generator:
    digest = hashlib.sha256("\0".join([str(seed), *names]).encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
