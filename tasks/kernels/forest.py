"""Isolation forests read off the factors of gradients: a split needs one value r_i · h_j, so no gradient is built."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np

from tasks.kernels.axes import Float, Float32, Int, Shaped

Join = Literal["sum", "stack"]

# So many samples, times so many splits, are evaluated at a time: their values stay in a core's cache.
_SAMPLES = 256
_SPLITS = 2560


class Tree(NamedTuple):
    """One isolation tree of m nodes, node 0 its root. A sample goes left where its value is ≤ the threshold."""

    feature: Int[np.ndarray, "m"]
    """Column of the gradient, row-major over (k, h1) and, for stacked terms, (c, k, h1); unused in leaves."""
    threshold: Float[np.ndarray, "m"]
    left: Int[np.ndarray, "m"]
    """Left child; −1 in leaves."""
    right: Int[np.ndarray, "m"]
    depth: Int[np.ndarray, "m"]
    """Splits above the node."""
    size: Int[np.ndarray, "m"]
    """Samples of the tree's own that reached it."""


class Layout(NamedTuple):
    """How a gradient of p values is stored."""

    joined: Join
    c: int
    """Terms; 0 where gradients are stored whole, then h1 is p."""
    k: int
    h1: int

    @property
    def p(self) -> int:
        """Values of one gradient."""
        return self.h1 if not self.c else self.k * self.h1 * (self.c if self.joined == "stack" else 1)


class Grove(NamedTuple):
    """Some trees of a forest, as tables. Splits of all of them stand deepest first, so that children precede parents.

    What a sample falls into is told by codes: a leaf's code is its number within its tree.
    """

    left: Int[np.ndarray, "q s"]
    """Columns of the left factor whose products with ``right``'s make a split's value; q is 0 for whole gradients."""
    right: Int[np.ndarray, "q s"]
    threshold: Float32[np.ndarray, "s 1"]
    levels: list[tuple[int, int]]
    """(start, stop) of the splits of equal depth, deepest first."""
    lower: Int[np.ndarray, "s"]
    """Row in the table of codes (the leaves' first, then the splits') of the child at or below the threshold."""
    upper: Int[np.ndarray, "s"]
    root: Int[np.ndarray, "t"]
    """Row of each tree's root."""
    path: Float[np.ndarray, "t l"]
    """Path length of each leaf, by its code."""


class Forest(NamedTuple):
    """A grown forest, laid out to be read."""

    groves: list[Grove]
    left: Int[np.ndarray, "_"] | None
    """Which columns of the left factor are read at all, where these are few; the groves then count among these."""
    right: Int[np.ndarray, "_"] | None
    trees: int
    samples: int
    """Samples each tree was grown on."""


def average_path(count: Int[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """c(n) = 2 (ln(n − 1) + γ) − 2 (n − 1) / n, mean path of an unsuccessful search in a binary tree of n; c(2) = 1.

    Liu, Ting & Zhou, Isolation Forest (ICDM 2008), equation 1, with H(i) ≈ ln i + γ.
    """
    n = np.maximum(count, 3)
    mean = 2 * (np.log(n - 1.0) + np.euler_gamma) - 2 * (n - 1.0) / n
    return np.where(count > 2, mean, np.where(count == 2, 1.0, 0.0))


def build_rows(
    left: Float32[np.ndarray, "n c k"],
    right: Float32[np.ndarray, "n c h1"],
    joined: Join,
    out: Float32[np.ndarray, "n p"],
) -> None:
    """Few gradients built: value for value what ``path_lengths`` computes, which ``joined_outer`` need not be.

    Terms are added one after the other in float32; a matrix product rounds otherwise, and a sample that stands on a
    threshold would go another way than the tree was grown.
    """
    n, c, k = left.shape
    rows = out.reshape(n, -1, k, right.shape[2])
    for t in range(c):
        if joined == "stack" or t == 0:
            np.multiply(left[:, t, :, None], right[:, t, None, :], out=rows[:, t])
        else:
            for row, a, b in zip(rows[:, 0], left[:, t], right[:, t], strict=True):
                row += a[:, None] * b


def norms(
    left: Float32[np.ndarray, "n c k"], right: Float32[np.ndarray, "n c h1"], joined: Join
) -> Float32[np.ndarray, "n"]:
    """‖g‖₂ as in ``kernels.norms``, without ‖g‖₁, and the same for a sample whatever stands beside it."""
    if joined == "stack" or left.shape[1] == 1:
        squares = np.einsum("nck,nck->nc", left, left) * np.einsum("nch,nch->nc", right, right)
        return np.sqrt(squares.sum(1))
    squares = np.einsum("nck,ndk->ncd", left, left) * np.einsum("nch,ndh->ncd", right, right)
    # Rounding may leave a tiny negative number where terms cancel.
    return np.sqrt(np.maximum(squares.reshape(len(left), -1).sum(1), 0))


def lay_out(trees: list[Tree], layout: Layout) -> Forest:
    """Lay grown trees out to be read. Every tree's root holds as many samples as the first's."""
    sides = [_columns(tree.feature, layout) for tree in trees]
    split = [tree.left >= 0 for tree in trees]
    width = (max(layout.c, 1) * layout.k, max(layout.c, 1) * layout.h1)
    used = [
        _used(np.concatenate([side[i][:, s].ravel() for side, s in zip(sides, split, strict=True)]), width[i])
        for i in (0, 1)
    ]
    groves, batch, splits = [], [], 0
    for i in range(len(trees)):
        count = int(split[i].sum())
        if batch and splits + count > _SPLITS:
            groves.append(_grove([trees[j] for j in batch], [sides[j] for j in batch], used))
            batch, splits = [], 0
        batch.append(i)
        splits += count
    groves.append(_grove([trees[j] for j in batch], [sides[j] for j in batch], used))
    return Forest(groves, used[0], used[1], len(trees), int(trees[0].size[0]))


def _columns(feature: Int[np.ndarray, "m"], layout: Layout) -> tuple[np.ndarray, np.ndarray]:
    """Columns of both factors (n × c·k and n × c·h1) whose products, summed, are each feature's value; q × m."""
    joined, c, k, h1 = layout
    if not c:
        return np.empty((0, len(feature)), np.int64), feature[None]
    if joined == "stack":
        term, within = np.divmod(feature, k * h1)
        i, j = np.divmod(within, h1)
        return (term * k + i)[None], (term * h1 + j)[None]
    i, j = np.divmod(feature, h1)
    term = np.arange(c)[:, None]
    return term * k + i, term * h1 + j


def _used(columns: Int[np.ndarray, "_"], width: int) -> Int[np.ndarray, "_"] | None:
    """The distinct columns, or None where it is cheaper to take all (which are then transposed, not gathered)."""
    distinct = np.unique(columns)
    return distinct if len(distinct) * 8 < width else None


def _grove(trees: list[Tree], sides: list[tuple[np.ndarray, np.ndarray]], used: list[np.ndarray | None]) -> Grove:
    nodes = Tree(*(np.concatenate(columns) for columns in zip(*trees, strict=True)))
    offsets = np.cumsum([0, *(len(tree.left) for tree in trees)])
    offset_of = np.repeat(offsets[:-1], np.diff(offsets))
    leaves = max(int((tree.left < 0).sum()) for tree in trees)
    splits = np.flatnonzero(nodes.left >= 0)
    splits = splits[np.argsort(-nodes.depth[splits], kind="stable")]
    # Node → its row in the table of codes.
    row = np.empty(len(nodes.left), np.int64)
    row[splits] = leaves + np.arange(len(splits))
    path = np.zeros((len(trees), leaves))
    for i, tree in enumerate(trees):
        ends = np.flatnonzero(tree.left < 0)
        row[offsets[i] + ends] = np.arange(len(ends))
        # In scikit-learn's order, which counts a root as one: the same to the last bit.
        path[i, : len(ends)] = tree.depth[ends] + 1.0 + average_path(tree.size[ends]) - 1.0
    left, right = (
        side[:, splits] if few is None else np.searchsorted(few, side[:, splits])
        for side, few in zip((np.concatenate(side, axis=1) for side in zip(*sides, strict=True)), used, strict=True)
    )
    # A float32 value is ≤ a float64 threshold just where it is ≤ the largest float32 that is not above it.
    threshold = nodes.threshold[splits].astype(np.float32)
    rounded_up = threshold > nodes.threshold[splits]
    threshold = np.where(rounded_up, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    cuts = [0, *(np.flatnonzero(np.diff(nodes.depth[splits])) + 1).tolist(), len(splits)]
    return Grove(
        left=left,
        right=right,
        threshold=threshold[:, None],
        levels=[(start, stop) for start, stop in pairwise(cuts) if start < stop],
        lower=row[nodes.left[splits] + offset_of[splits]],
        upper=row[nodes.right[splits] + offset_of[splits]],
        root=row[offsets[:-1]],
        path=path,
    )


def path_lengths(
    forest: Forest, left: Float32[np.ndarray, "n ck"] | None, right: Float32[np.ndarray, "n ch1"]
) -> Float[np.ndarray, "n"]:
    """Σ over trees of a sample's path: its leaf's depth, and c(n) of the n samples that ended there.

    All splits are evaluated, each for a vector of samples, and not only those on a sample's path: that is a multiply
    and a compare of neighbours in memory, where a walk would wait for its next place to read at every level.

    Args:
        forest: laid out by ``lay_out``.
        left: the left factors, their c terms side by side; none for whole gradients.
        right: the right factors, or whole gradients.
    """
    total = np.zeros(len(right))
    for at in range(0, len(right), _SAMPLES):
        some = slice(at, at + _SAMPLES)
        sides = [
            _transpose(left[some], forest.left) if left is not None else None,
            _transpose(right[some], forest.right),
        ]
        for grove in forest.groves:
            # One after the other, as scikit-learn adds them: the sums are the same to the last bit.
            for path, code in zip(grove.path, _codes(grove, *sides), strict=True):
                total[some] += path.take(code, mode="clip")
    return total


def _transpose(block: Float32[np.ndarray, "n w"], used: Int[np.ndarray, "_"] | None) -> Float32[np.ndarray, "_ n"]:
    return np.ascontiguousarray((block if used is None else block[:, used]).T)


def _codes(
    grove: Grove, left: Float32[np.ndarray, "_ n"] | None, right: Float32[np.ndarray, "_ n"]
) -> Shaped[np.ndarray, "t n"]:
    """Which leaf of each tree each sample falls into."""
    n, leaves, splits = right.shape[1], grove.path.shape[1], len(grove.threshold)
    values = right.take(grove.right[0], axis=0)
    if left is not None:
        values *= left.take(grove.left[0], axis=0)
        for i, j in zip(grove.left[1:], grove.right[1:], strict=True):
            values += left.take(i, axis=0) * right.take(j, axis=0)
    above = values > grove.threshold
    codes = np.empty((leaves + splits, n), np.uint8 if leaves <= 256 else np.uint32)
    codes[:leaves] = np.arange(leaves)[:, None]
    turn = above.view(np.uint8) if codes.dtype == np.uint8 else above
    for start, stop in grove.levels:
        # lower where not above, else upper: lower ^ (lower ^ upper) · above has no branch to be mispredicted.
        lower = codes.take(grove.lower[start:stop], axis=0)
        upper = codes.take(grove.upper[start:stop], axis=0)
        upper ^= lower
        upper *= turn[start:stop]
        np.bitwise_xor(upper, lower, out=codes[leaves + start : leaves + stop])
    return codes[grove.root]


def anomaly(lengths: Float[np.ndarray, "n"], trees: int, samples: int) -> Float[np.ndarray, "n"]:
    """s = 2^(−E(path) / c(samples)), from the sum of ``trees`` paths (Liu, Ting & Zhou 2008, equation 2); ½ is average.

    It is ½ where trees of one sample have no path at all.
    """
    whole = trees * float(average_path(np.array(samples)))
    return 2.0 ** -(lengths / whole) if whole else np.full(len(lengths), 0.5)
