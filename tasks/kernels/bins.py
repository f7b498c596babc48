"""The nearest of many references: bytes say which bins to look into, floats say what is nearest there.

    bin b        eight references that a k-d tree leaves together (fewer of wide vectors)
    m_qb         max_{r ∈ b} ⟨⌊R q⌉, ⌊R r⌉⟩, of vectors of one length, turned by a rotation R and rounded to 7 bits
    the nearest  by ‖q − r‖ in float32, among the members of the bins with the largest m_q

The c nearest lie in c bins at most, so but for rounding the c largest m_q find them all; a quarter more are looked
into. Three things keep rounding small. The rotation spreads a value that stands out over all coordinates. Neighbours
share bins, so that in data of few real dimensions, where all are nearly as near, many more than c are compared.
And a sample of the references, and of the queries, is looked for both ways: where the recall is not high, no index is
made or asked.

A product of bytes takes a third of the time of one of floats, and its sums are exact: which bins are looked into does
not depend on the number of threads. Seven bits, because without VNNI a processor adds two products in 16 bits. Of
100,000 references with 32 values that are pure noise, the hardest case, the recall is .9998 in two fifths of the time
of the exact search; codes (faiss's PQ) take longer there.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import NamedTuple

import torch

from tasks.kernels.axes import Float, Int
from tasks.kernels.neighbours import nearest

EXACT_UP_TO = 30_000
"""References that are compared one by one."""
RECALL = 0.99
"""Share of the nearest that an index must find, on average over a sample: of its own references, and of queries."""

# References of a piece of the tree, which is split in halves down to bins, and of one product.
_PIECE, _PRODUCT = 1024, 2048
# Queries of one product: with its references as much as a processor's cache holds. And of one comparison by floats.
_QUERIES, _COMPARED = 256, 64
# Values of a bin's members, at most: all of them are read for each query that looks into it.
_VALUES = 256
# Coordinates that the tree is made by, and the largest byte.
_SPLIT_BY, _BYTE = 16, 63
# Queries of the sample, and by how much two squared distances differ that float32 does not tell apart.
_SAMPLE, _ROUNDING = 256, 2e-6
# Values of a group of which the largest is taken; rows of so many times what is wanted are sorted.
_GROUP, _TIMES = 4, 8


class _Memory(NamedTuple):
    """Of one block of queries."""

    products: Int[torch.Tensor, "s"]
    maxima: Int[torch.Tensor, "b bins"]
    vectors: Float[torch.Tensor, "l s"]
    members: Int[torch.Tensor, "l size"]


class Bins:
    """An index of references of one length, on a processor that multiplies bytes."""

    recall: float = 1.0
    """Share of the nearest that it found of a sample."""

    def __init__(self, references: Float[torch.Tensor, "m d"], count: int) -> None:
        """Sort ``references`` into bins, to look for ``count`` nearest of each query."""
        self.count, self.looked_into = count, count + -(-count // 4)
        m, d = references.shape
        size = next(size for size in (8, 4, 2, 1) if size * d <= _VALUES or size == 1)
        self._square = float(references.square().sum(1).mean())
        generator = torch.Generator().manual_seed(0)
        self._rotation = torch.linalg.qr(torch.randn(d, d, generator=generator)).Q
        turned = references @ self._rotation
        order = _tree(turned[:, :_SPLIT_BY].contiguous(), size)
        self._is_empty = torch.nonzero((order >= m).view(-1, size).all(1)).squeeze(1)
        self._members = torch.where(order < m, order, -1).to(torch.int32).view(-1, size)
        order = order.clamp_max(m - 1)
        self._vectors = references[order].view(len(self._members), size * d)
        bytes_ = _rounded(turned, turned.abs().max())[order]
        # Member i of all bins before member i + 1, so that the largest of a bin is one of columns side by side.
        self._products = [part.view(-1, size, d).transpose(0, 1).reshape(-1, d).T for part in bytes_.split(_PRODUCT)]

    def nearest(
        self, queries: Float[torch.Tensor, "n d"], themselves: Int[torch.Tensor, "n"]
    ) -> Iterator[tuple[slice, Int[torch.Tensor, "b count"], Float[torch.Tensor, "b count"]]]:
        """As ``tasks.kernels.neighbours.nearest``, but for a few that are not found."""
        memory = self._memory(len(queries))
        themselves = themselves.to(torch.int32)
        for first in range(0, len(queries), _QUERIES):
            x = queries[first : first + _QUERIES]
            bins = _largest(self._maxima(x, memory), self.looked_into)
            for at in range(0, len(x), _COMPARED):
                part = slice(first + at, first + min(at + _COMPARED, len(x)))
                yield part, *self._compared(queries[part], bins[at : at + _COMPARED], themselves[part], memory)

    def for_queries(
        self,
        queries: Float[torch.Tensor, "n d"],
        references: Float[torch.Tensor, "m d"],
        themselves: Int[torch.Tensor, "n"],
    ) -> Bins | None:
        """The same index, with its recall of a sample of these queries; None where that is less than ``RECALL``.

        Queries unlike all references are nearly as near to many of them, and rounding parts such least well.

        Args:
            queries: n × d; where there are many, every one in so many.
            references: of which the index was made.
            themselves: which of them each query is, −1 for none.
        """
        some = sample_of(len(queries))
        recall = _recall(self, queries[some], references, themselves[some])
        if not recall >= RECALL:
            return None
        known = copy.copy(self)
        known.recall = recall
        return known

    def _memory(self, queries: int) -> _Memory:
        """What blocks of so many queries fill, each anew: to be given new pages for each takes longer."""
        (bins, size), width = self._members.shape, self._vectors.shape[1]
        product, compared = min(queries, _QUERIES), min(queries, _COMPARED) * self.looked_into
        return _Memory(
            torch.empty(product * _PRODUCT, dtype=torch.int32),
            torch.empty(product, bins, dtype=torch.int32),
            torch.empty(compared, width),
            torch.empty(compared, size, dtype=torch.int32),
        )

    def _maxima(self, queries: Float[torch.Tensor, "b d"], memory: _Memory) -> Int[torch.Tensor, "b bins"]:
        """m_q of each query, whose scale does not matter: products are only compared with its own."""
        turned = queries @ self._rotation
        x = _rounded(turned, turned.abs().amax(1, keepdim=True))
        size, first = self._members.shape[1], 0
        maxima = memory.maxima[: len(x)]
        for references in self._products:
            width = references.shape[1]
            part = memory.products[: len(x) * width].view(len(x), width)
            # PyTorch has no other product of bytes; torchao is built on it.
            products = torch._int_mm(x, references, out=part)  # pyright: ignore[reportPrivateImportUsage]
            last = first + width // size
            torch.amax(products.view(len(x), size, -1), 1, out=maxima[:, first:last])
            first = last
        return maxima.index_fill_(1, self._is_empty, torch.iinfo(torch.int32).min)

    def _compared(
        self,
        queries: Float[torch.Tensor, "b d"],
        bins: Int[torch.Tensor, "b l"],
        themselves: Int[torch.Tensor, "b"],
        memory: _Memory,
    ) -> tuple[Int[torch.Tensor, "b count"], Float[torch.Tensor, "b count"]]:
        b, d = queries.shape
        index = bins.flatten()
        vectors = torch.index_select(self._vectors, 0, index, out=memory.vectors[: len(index)]).view(b, -1, d)
        members = torch.index_select(self._members, 0, index, out=memory.members[: len(index)]).view(b, -1)
        products = torch.bmm(queries.unsqueeze(1), vectors.transpose(1, 2)).squeeze(1)
        none = (members < 0) | (members == themselves.unsqueeze(1))
        near, chosen = products.masked_fill_(none, -torch.inf).topk(self.count, dim=1)
        # As for exact neighbours: all references have one length.
        squares = near.mul_(-2).add_(queries.square().sum(1, keepdim=True)).add_(self._square)
        return members.gather(1, chosen).long(), squares.clamp_min_(0).sqrt_()


def bins_of(references: Float[torch.Tensor, "m d"], count: int) -> Bins | None:
    """The index of ``references``; None where it is not worth it, not possible, or its recall less than ``RECALL``."""
    m, d = references.shape
    if m <= EXACT_UP_TO or count > m // 64 or not _multiplies_bytes(references.device):
        return None
    lengths = references.norm(dim=1)
    if d < 2 or float(lengths.max() - lengths.min()) > 1e-5 * float(lengths.max()):
        return None
    some = sample_of(m)
    return Bins(references, count).for_queries(references[some], references, some)


def sample_of(n: int) -> Int[torch.Tensor, "s"]:
    """Positions of the sample that a recall is measured on."""
    return torch.arange(0, n, max(1, -(-n // _SAMPLE)))


def _multiplies_bytes(device: torch.device) -> bool:
    """Whether there is a fast product of bytes; elsewhere PyTorch may take a loop."""
    return (
        hasattr(torch, "_int_mm")
        and device.type == "cpu"
        and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
    )


def _recall(
    bins: Bins,
    queries: Float[torch.Tensor, "n d"],
    references: Float[torch.Tensor, "m d"],
    themselves: Int[torch.Tensor, "n"],
) -> float:
    """Share of the nearest of these queries that is found: what is as near as the last of the exact ones counts."""
    last = torch.cat([far[:, -1:] for *_, far in nearest(queries, references, themselves, bins.count)])
    distances = torch.cat([far for *_, far in bins.nearest(queries, themselves)])
    return float((distances.square() <= last.square() + _ROUNDING).float().mean())


def _largest(values: Int[torch.Tensor, "b m"], count: int) -> Int[torch.Tensor, "b count"]:
    """Positions of the ``count`` largest of each row, in any order.

    They lie in the ``count`` groups with the largest maxima: before the group of one of them come only groups that each
    hold a larger one. So of long rows maxima of four are taken, and again of these, and on the way back no more than
    ``4 count`` values are sorted each time. A group's members lie a fourth of the row apart: maxima of whole columns
    take a tenth of the time of those of neighbours.
    """
    levels = [values]
    while (width := levels[-1].shape[1]) > _TIMES * count and width % _GROUP == 0:
        levels.append(levels[-1].view(len(values), _GROUP, -1).amax(1))
    top = levels.pop().topk(count, dim=1, sorted=False).indices
    for level in reversed(levels):
        apart = level.shape[1] // _GROUP
        members = (top.unsqueeze(2) + torch.arange(0, _GROUP * apart, apart)).flatten(1)
        top = members.gather(1, level.gather(1, members).topk(count, dim=1, sorted=False).indices)
    return top


def _rounded(x: Float[torch.Tensor, "n d"], largest: Float[torch.Tensor, "..."]) -> Int[torch.Tensor, "n d"]:
    return (x * (_BYTE / largest.clamp_min(1e-30))).round_().to(torch.int8)


def _tree(x: Float[torch.Tensor, "m d"], size: int) -> Int[torch.Tensor, "s"]:
    """The rows of ``x`` in the order of a k-d tree whose leaves have ``size``, filled up by numbers from m on.

    Each part is split in halves where its values differ most.
    """
    pieces = -(-len(x) // _PIECE)
    rows = torch.arange(pieces * _PIECE)
    x = torch.cat([x, x[-1:].expand(len(rows) - len(x), -1)])
    parts = torch.stack(_halves(x, rows, pieces))
    while parts.shape[1] > size:
        values = x[parts]
        widest = values.var(1, correction=0).argmax(1)
        values = values.gather(2, widest[:, None, None].expand(-1, parts.shape[1], 1)).squeeze(2)
        parts = parts.gather(1, values.argsort(dim=1, stable=True)).view(2 * len(parts), -1)
    return parts.flatten()


def _halves(x: Float[torch.Tensor, "m d"], rows: Int[torch.Tensor, "r"], pieces: int) -> list[torch.Tensor]:
    """``rows`` in so many pieces, by halves."""
    if pieces == 1:
        return [rows]
    values = x[rows]
    rows = rows[values[:, values.var(0, correction=0).argmax()].argsort(stable=True)]
    half = pieces // 2
    return _halves(x, rows[: half * _PIECE], half) + _halves(x, rows[half * _PIECE :], pieces - half)
