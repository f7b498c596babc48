"""Isolation forests over gradient shards: grown on subsamples, then read block by block.

The trees are those that scikit-learn's ``IsolationForest`` grows on the dense matrix with the same seed. There each
tree is an ``ExtraTreeRegressor`` that sees, of all rows, only its own ``max_samples``; so it can be grown on these
alone, by scikit-learn itself. What is drawn, and in which order, is in ``_plan``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from tasks.gradients.shards import GradientShards
from tasks.kernels.forest import Forest, Layout, Tree, anomaly, build_rows, lay_out, norms, path_lengths

On = Literal["raw", "normalised"]

# So many bytes of the rows that trees are grown on are gathered at a time; and of samples to be sorted by their forest.
_GATHERED_BYTES = 1 << 25
# PyOD's default. Its scores are counted from the one that this share of the samples exceeds.
_CONTAMINATION = 0.1


class Growth(NamedTuple):
    """What one tree is grown from."""

    group: int
    ranks: np.ndarray
    """Its samples, ascending."""
    target: np.ndarray
    """What the tree pretends to predict: noise."""
    seed: int
    """Of its splits."""


class Sides(NamedTuple):
    """Gradients of n samples as they are stored: factors, their terms side by side; or (left none) whole ones."""

    left: np.ndarray | None
    right: np.ndarray


def forest_scores(
    gradients: GradientShards,
    groups: np.ndarray | None,
    *,
    trees: int,
    max_samples: int,
    seed: int,
    on: On,
    grown_on: np.ndarray | None = None,
) -> np.ndarray:
    """PyOD's ``decision_scores_``, by sorted sample_id: 2^(−mean path / c(samples)), less what a tenth exceed.

    With groups each has a forest of its own, grown with the same seed as if the others were not there. Scores of all
    forests are counted from one score, so they stay comparable. A sample alone in its group gets what the average
    sample has, ½ before counting.

    Args:
        gradients: of all samples.
        groups: a number for each sample, by sorted sample_id; one forest for all where there is none.
        trees: of each forest.
        max_samples: that each tree is grown on, at most.
        seed: of samples and splits.
        on: gradients as they are stored, or each divided by its L2 norm.
        grown_on: samples that trees are grown on and scores counted from, n bool: as if the others were not there. All,
            by default.
    """
    if not len(gradients):
        return np.empty(0)
    source = ForestInput(gradients, on)
    members = _members(groups)
    base = np.ones(len(gradients), bool) if grown_on is None else grown_on
    plan = (
        growth
        for group, ranks in enumerate(_among(members, base))
        for growth in _plan(group, ranks, len(gradients), source.layout.p, trees, max_samples, seed)
    )
    forests = _grow(source, plan, trees)
    scores = np.full(len(gradients), 0.5)
    blocks = _split_by_group(source.blocks(), members, len(gradients))
    jobs = ((rank, partial(_score, forests[group], sides)) for group, rank, sides in blocks if group in forests)
    for rank, depths in _in_threads(jobs):
        scores[rank] = depths
    return scores + np.percentile(-scores[base], 100 * _CONTAMINATION, overwrite_input=True)


# ---- what is stored --------------------------------------------------------------------------------------------------


class ForestInput:
    """Gradients as a forest takes them: float32, normalised where it should be, and in pieces of bounded size."""

    def __init__(self, gradients: GradientShards, on: On) -> None:
        self.gradients, self.on = gradients, on
        self.names = ("residual", "features") if gradients.factored else ("gradient",)
        widths = [gradients.widths[name] for name in self.names]
        self.at_once = max(1, _GATHERED_BYTES // (4 * sum(widths)))
        layout: Any = gradients.metadata.joined
        c = gradients.terms
        self.layout = (
            Layout(layout, c, *(w // c for w in widths)) if gradients.factored else Layout("sum", 0, 1, *widths)
        )

    def blocks(self) -> Iterator[tuple[np.ndarray, Sides]]:
        """(ranks, gradients) of all samples."""
        for rank, columns in self.gradients.vectors(*self.names):
            for at in range(0, len(rank), self.at_once):
                some = slice(at, at + self.at_once)
                yield rank[some], self._sides({name: values[some] for name, values in columns.items()})

    def rows(self, ranks: np.ndarray) -> Sides:
        """Those of some samples."""
        return self._sides(self.gradients.rows(ranks, *self.names))

    def terms(self, left: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Both factors as n × c × k and n × c × h1."""
        _, c, k, h1 = self.layout
        return left.reshape(-1, c, k), right.reshape(-1, c, h1)

    def _sides(self, columns: dict[str, np.ndarray]) -> Sides:
        *left, right = (np.asarray(columns[name], np.float32) for name in self.names)
        sides = Sides(left[0] if left else None, right)
        if self.on == "raw":
            return sides
        if sides.left is None:
            return Sides(None, right / _lengths(np.sqrt(np.einsum("np,np->n", right, right))))
        return Sides(sides.left / _lengths(norms(*self.terms(sides.left, right), self.layout.joined)), right)


def _lengths(values: np.ndarray) -> np.ndarray:
    # A gradient of nothing stays one.
    return np.where(values > 0, values, np.float32(1))[:, None]


# ---- growing ---------------------------------------------------------------------------------------------------------


def _members(groups: np.ndarray | None) -> list[np.ndarray | None]:
    """Ranks of each group's samples, ascending; [None] for all."""
    if groups is None:
        return [None]
    order = np.argsort(groups, kind="stable")
    return list(np.split(order, np.flatnonzero(np.diff(groups[order])) + 1))


def _among(members: list[np.ndarray | None], mask: np.ndarray) -> list[np.ndarray | None]:
    """The members of each group that are in the mask."""
    if mask.all():
        return members
    return [np.flatnonzero(mask) if ranks is None else ranks[mask[ranks]] for ranks in members]


def _plan(
    group: int, members: np.ndarray | None, n: int, p: int, trees: int, max_samples: int, seed: int
) -> Iterator[Growth]:
    """What IsolationForest(n_estimators=trees, random_state=seed).fit draws for n × p, number for number."""
    from sklearn.utils.random import sample_without_replacement

    n = n if members is None else len(members)
    if n < 2:
        return
    target = np.random.RandomState(seed).uniform(size=n)
    for own in np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=trees):
        splits = int(np.random.RandomState(own).randint(np.iinfo(np.int32).max))
        draw = np.random.RandomState(own)
        sample_without_replacement(p, p, random_state=draw)  # the columns a tree may use: all
        subsample = np.sort(sample_without_replacement(n, min(max_samples, n), random_state=draw))
        yield Growth(group, subsample if members is None else members[subsample], target[subsample], splits)


def _grow(source: ForestInput, plan: Iterator[Growth], trees: int) -> dict[int, Forest]:
    """Group → its forest."""
    forests: dict[int, Forest] = {}
    forest: list[Tree] = []
    matrix = np.empty((0, source.layout.p), np.float32)
    for some in _pieces(plan, source.at_once):
        sides = source.rows(np.concatenate([growth.ranks for growth in some]))
        at = 0
        for growth in some:
            n = len(growth.ranks)
            own = Sides(None if sides.left is None else sides.left[at : at + n], sides.right[at : at + n])
            at += n
            if own.left is not None and len(matrix) < n:
                matrix = np.empty((n, source.layout.p), np.float32)
            forest.append(_tree(_matrix(source, own, matrix[:n]), growth))
            if len(forest) == trees:
                forests[growth.group] = lay_out(forest, source.layout)
                forest = []
    return forests


def _matrix(source: ForestInput, own: Sides, out: np.ndarray) -> np.ndarray:
    """One tree's samples as rows of p values: the only gradients that are ever built."""
    if own.left is None:
        return own.right
    build_rows(*source.terms(own.left, own.right), source.layout.joined, out)
    return out


def _pieces(plan: Iterator[Growth], rows: int) -> Iterator[list[Growth]]:
    """Growths that have no more than so many rows together, or one."""
    piece: list[Growth] = []
    for growth in plan:
        if piece and sum(len(one.ranks) for one in piece) + len(growth.ranks) > rows:
            yield piece
            piece = []
        piece.append(growth)
    if piece:
        yield piece


def _tree(rows: np.ndarray, growth: Growth) -> Tree:
    from sklearn.tree import ExtraTreeRegressor

    depth = int(np.ceil(np.log2(len(rows))))
    tree = ExtraTreeRegressor(max_features=1, splitter="random", max_depth=depth, random_state=growth.seed)
    nodes = tree.fit(rows, growth.target, check_input=False).tree_
    numbers = (nodes.children_left, nodes.children_right, nodes.compute_node_depths() - 1, nodes.n_node_samples)
    # Some of scikit-learn's int64 are C's long long, which is another type by name; and all of them are views.
    return Tree(nodes.feature.astype(np.int64), nodes.threshold.copy(), *(x.astype(np.int64) for x in numbers))


# ---- reading ---------------------------------------------------------------------------------------------------------


def _split_by_group(
    blocks: Iterator[tuple[np.ndarray, Sides]], members: list[np.ndarray | None], n: int
) -> Iterator[tuple[int, np.ndarray, Sides]]:
    """(group, ranks, gradients), each of one group alone; some blocks at a time, so that of each there are many."""
    if members == [None]:
        yield from ((0, rank, sides) for rank, sides in blocks)
        return
    group = np.empty(n, np.int32)
    for number, ranks in enumerate(members):
        group[ranks] = number
    batch: list[tuple[np.ndarray, Sides]] = []
    size = 0
    for block in blocks:
        batch.append(block)
        size += sum(side.nbytes for side in block[1] if side is not None)
        if size >= _GATHERED_BYTES:
            yield from _by_group(batch, group)
            batch, size = [], 0
    if batch:
        yield from _by_group(batch, group)


def _by_group(blocks: list[tuple[np.ndarray, Sides]], group: np.ndarray) -> Iterator[tuple[int, np.ndarray, Sides]]:
    rank = np.concatenate([rank for rank, _ in blocks])
    left = [sides.left for _, sides in blocks if sides.left is not None]
    sides = Sides(np.concatenate(left) if left else None, np.concatenate([sides.right for _, sides in blocks]))
    order = np.argsort(group[rank], kind="stable")
    for some in np.split(order, np.flatnonzero(np.diff(group[rank[order]])) + 1):
        own = Sides(None if sides.left is None else sides.left[some], sides.right[some])
        yield int(group[rank[some[0]]]), rank[some], own


def _score(forest: Forest, sides: Sides) -> np.ndarray:
    return anomaly(path_lengths(forest, sides.left, sides.right), forest.trees, forest.samples)


def _in_threads(
    jobs: Iterator[tuple[np.ndarray, Callable[[], np.ndarray]]],
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(ranks, result) of each job, in order: as many at a time as torch may use threads."""
    import torch

    workers = torch.get_num_threads()
    if workers == 1:
        yield from ((rank, job()) for rank, job in jobs)
        return
    with ThreadPoolExecutor(workers) as pool:
        due: deque[tuple[np.ndarray, Future[np.ndarray]]] = deque()
        for rank, job in jobs:
            due.append((rank, pool.submit(job)))
            if len(due) > 2 * workers:
                rank, future = due.popleft()
                yield rank, future.result()
        yield from ((rank, future.result()) for rank, future in due)
