"""Nearest neighbours by brute force, and what their labels say."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from tasks.kernels.axes import Float, Int

# Similarities held at a time: queries × references. Large enough for the matrix product, small beside any data set.
_AT_A_TIME = 1 << 24


def nearest(
    queries: Float[torch.Tensor, "n d"],
    references: Float[torch.Tensor, "m d"],
    themselves: Int[torch.Tensor, "n"],
    count: int,
) -> Iterator[tuple[slice, Int[torch.Tensor, "b count"], Float[torch.Tensor, "b count"]]]:
    """The ``count`` references nearest to each query, nearest first, in blocks of queries.

    By squared Euclidean distance, ‖q‖² − 2⟨q, r⟩ + ‖r‖²; on vectors of unit length the order is that of the cosine.

    Args:
        queries: n × d.
        references: m × d, on the same device.
        themselves: which reference each query is, −1 for none: nobody is a neighbour of itself.
        count: at most m − 1.

    Yields:
        (which queries, positions of their neighbours, the distances).
    """
    group = max(1, round((len(references) / max(count, 1)) ** 0.5))
    lengths = references.square().sum(1)
    # References that are infinitely far fill the last group up.
    fill = -len(references) % group
    lengths = torch.nn.functional.pad(lengths, (0, fill), value=torch.inf)
    references = torch.nn.functional.pad(references, (0, 0, 0, fill))
    size = max(1, _AT_A_TIME // len(references))
    # Of all blocks the same memory: to be given new pages for each takes longer than to fill them.
    memory = references.new_empty(min(size, len(queries)), len(references))
    for first in range(0, len(queries), size):
        block = slice(first, first + size)
        x, own = queries[block], themselves[block]
        distances = torch.addmm(lengths, x, references.T, alpha=-2, out=memory[: len(x)])
        rows = torch.nonzero(own >= 0).squeeze(1)
        distances[rows, own[rows]] = torch.inf
        near, indices = _smallest(distances, count, group)
        yield block, indices, near.add_(x.square().sum(1, keepdim=True)).clamp_min_(0).sqrt_()


def _smallest(
    values: Float[torch.Tensor, "b m"], count: int, group: int
) -> tuple[Float[torch.Tensor, "b count"], Int[torch.Tensor, "b count"]]:
    """The ``count`` smallest of each row and their positions, ascending.

    They lie in the ``count`` groups with the smallest minima: before the group of one of them come only groups that
    each hold a smaller one. So of m values only m / group minima and count · group values are sorted, which is least at
    a group of √(m / count), and the rest is read once.
    """
    groups = values.view(len(values), -1, group)
    minima = groups.amin(2)
    if minima.shape[1] <= count:
        top = values.topk(count, dim=1, largest=False)
        return top.values, top.indices
    chosen = minima.topk(count, dim=1, largest=False, sorted=False).indices
    candidates = groups.gather(1, chosen.unsqueeze(2).expand(-1, -1, group)).flatten(1)
    top = candidates.topk(count, dim=1, largest=False)
    return top.values, chosen.gather(1, top.indices // group) * group + top.indices % group


def votes(
    neighbours: Int[torch.Tensor, "n j"], labels: Int[torch.Tensor, "m"], classes: int
) -> Float[torch.Tensor, "n k"]:
    """Share of each class among the neighbours' labels: V_ic = #{j : y_(i,j) = c} / j, n × k."""
    ballots = torch.zeros(len(neighbours), classes, device=neighbours.device)
    cast = labels[neighbours]
    ballots.scatter_add_(1, cast, torch.ones_like(cast, dtype=ballots.dtype))
    return ballots / neighbours.shape[1]


def comparable(
    x: Float[torch.Tensor, "n d"], *, scale: bool, unit: bool, width: int, seed: int
) -> Callable[[Float[torch.Tensor, "b d"]], Float[torch.Tensor, "b w"]]:
    """A map under which distances mean something: x ↦ P((x − mean) / std), to unit length if asked.

    Args:
        x: n × d, to take the statistics from.
        scale: divide by each feature's standard deviation, as a table's columns need it; pixels do not.
        unit: compare directions (cosine) and not places, better in many dimensions.
        width: inputs wider than this are projected to it by random signs / √width (Achlioptas, 2003).
        seed: of the projection.
    """
    # From the first row on, so that a constant column is exactly nought, however large it is.
    offset = x - x[0]
    mean = x[0] + offset.mean(0)
    spread = offset.std(0, correction=0) if scale else torch.ones_like(mean)
    spread = torch.where(spread > 0, spread, torch.ones_like(spread))
    projection = None
    if x.shape[1] > width:
        generator = torch.Generator().manual_seed(seed)
        signs = torch.randint(0, 2, (x.shape[1], width), generator=generator, dtype=torch.int8)
        projection = (signs.to(x).mul_(2).sub_(1) / width**0.5).to(x.device)

    def project(rows: Float[torch.Tensor, "b d"]) -> Float[torch.Tensor, "b w"]:
        points = (rows - mean) / spread
        points = points if projection is None else points @ projection
        return torch.nn.functional.normalize(points, dim=1) if unit else points

    return project
