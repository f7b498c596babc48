"""Pairs that are nearly equal among many, without comparing all with all: in memory that grows with their number."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Float, Int, Shaped

# Members of a bucket that each member is compared with, those behind it: a bucket of n costs no square of n.
_OF_A_BUCKET = 2048
# Of equal hashes so many are compared with one another, and with other hashes.
_OF_EQUALS = 8
# Tables of random directions, and bits of each: at a cosine of .99 two vectors agree in a bit with probability .955, in
# all of a table's with .40, in some table's with .9997. Of two at right angles one pair in 65,000 is compared in vain.
_TABLES, _BITS = 16, 20
_ROWS = 1 << 14
Positions = Int[np.ndarray, "p"]


class Pairs(NamedTuple):
    """Pairs of positions, the smaller one first, each pair once."""

    first: np.ndarray
    """p, int64."""
    second: np.ndarray
    """p, int64."""
    distance: np.ndarray
    """p, float64."""
    uncompared: int = 0
    """Pairs that share a bucket too large for all of its pairs to be compared."""


def pairs_of(parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]], uncompared: int = 0) -> Pairs:
    """One list of many, in the order of the positions."""
    if not parts:
        return Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), uncompared)
    first, second, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
    low, high = np.minimum(first, second), np.maximum(first, second)
    order = np.lexsort((high, low))
    return Pairs(low[order], high[order], distance[order].astype(np.float64), uncompared)


def bucket_pairs(keys: Shaped[np.ndarray, "n"], most: int) -> Iterator[tuple[Positions, Positions]]:
    """Pairs of equal keys: of each position with the next ``most`` that have its key; hence all of a small bucket."""
    order = np.argsort(keys, kind="stable")
    ends = _ends(keys[order])
    at = np.arange(len(keys))
    for offset in range(1, most + 1):
        at = at[at + offset < ends[at]]
        if not len(at):
            return
        yield order[at], order[at + offset]


def uncompared(keys: Shaped[np.ndarray, "n"], most: int) -> int:
    """Pairs of equal keys that ``bucket_pairs`` leaves out: Σ_i max(0, members behind i − most)."""
    ends = _ends(np.sort(keys))
    return int(np.maximum(0, ends - np.arange(len(keys)) - 1 - most).sum())


def _ends(ranked: np.ndarray) -> np.ndarray:
    """Of sorted keys, where the run of each ends."""
    if not len(ranked):
        return np.empty(0, np.int64)
    bounds = np.append(np.flatnonzero(ranked[1:] != ranked[:-1]) + 1, len(ranked))
    return np.repeat(bounds, np.diff(bounds, prepend=0))


def agreeing(keys: Shaped[np.ndarray, "n b"], most: int) -> Iterator[tuple[Positions, Positions]]:
    """Pairs that have the same key in some of b columns, each pair once; of a large bucket see ``bucket_pairs``."""
    for column in range(keys.shape[1]):
        for i, j in bucket_pairs(keys[:, column], most):
            new = ~_agree(keys, i, j, column)
            yield i[new], j[new]


def _agree(keys: np.ndarray, i: np.ndarray, j: np.ndarray, columns: int) -> np.ndarray:
    """Whether pairs agree in one of the first columns, p bool."""
    same = np.zeros(len(i), bool)
    for column in range(columns):
        same |= keys[i, column] == keys[j, column]
    return same


def near_hashes(hashes: Shaped[np.ndarray, "n"], most: int) -> Pairs:
    """Pairs of 64-bit hashes that differ in at most ``most`` bits.

    Hashes are cut into most + 1 bands: two that differ in fewer bits than there are bands agree in one of these
    (Norouzi, Punjani and Fleet, 2012). Of equal hashes eight stand for all, and each is compared with the next eight.

    Args:
        hashes: n, uint64.
        most: bits.
    """
    equals = [(i, j, np.zeros(len(i))) for i, j in bucket_pairs(hashes, _OF_EQUALS)]
    left = uncompared(hashes, _OF_EQUALS)
    # Sorted: those that a large bucket's members are compared with are then the most similar ones.
    order = np.argsort(hashes, kind="stable")
    ranked = hashes[order]
    starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1])) if len(ranked) else np.empty(0, np.int64)
    rank = np.arange(len(ranked)) - np.repeat(starts, np.diff(starts, append=len(ranked)))
    order = order[rank < _OF_EQUALS]
    chosen = hashes[order]
    parts, bands = equals, _bands(chosen, most + 1)
    for column in range(bands.shape[1]):
        left += uncompared(bands[:, column], _OF_A_BUCKET)
        for i, j in bucket_pairs(bands[:, column], _OF_A_BUCKET):
            distance = np.bitwise_count(chosen[i] ^ chosen[j])
            near = np.flatnonzero((distance <= most) & (distance > 0))
            i, j, distance = i[near], j[near], distance[near]
            new = ~_agree(bands, i, j, column)
            parts.append((order[i[new]], order[j[new]], distance[new]))
    return pairs_of(parts, left)


def _bands(hashes: np.ndarray, count: int) -> np.ndarray:
    """The bits of n hashes in ``count`` parts, n × count."""
    bounds = [round(64 * part / count) for part in range(count + 1)]
    parts = [(hashes >> np.uint64(low)) & np.uint64((1 << (high - low)) - 1) for low, high in pairwise(bounds)]
    return np.stack(parts, axis=1) if len(hashes) else np.empty((0, count), np.uint64)


def near_vectors(x: Float[np.ndarray, "n d"], cosine: float, seed: int = 0) -> Pairs:
    """Pairs of vectors whose cosine, seen from their mean, is at least ``cosine``; their distance is 1 − cos.

    From the mean, since features after a ReLU all point one way. Candidates agree in the signs of their products with
    one of 16 sets of 20 random directions (Charikar, 2002); each is confirmed by its own product. Both come in blocks.

    Args:
        x: n × d.
        cosine: .95 and more; below, pairs are missed.
        seed: of the directions.
    """
    unit = x - x.mean(0, dtype=np.float64).astype(x.dtype) if len(x) else x.copy()
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    directions = np.random.default_rng(seed).standard_normal((x.shape[1], _TABLES * _BITS)).astype(x.dtype)
    weights = 1 << np.arange(_BITS)
    keys = np.empty((len(x), _TABLES), np.int32)
    for first in range(0, len(x), _ROWS):
        signs = unit[first : first + _ROWS] @ directions > 0
        keys[first : first + _ROWS] = signs.reshape(-1, _TABLES, _BITS) @ weights
    parts = []
    for i, j in agreeing(keys, _OF_A_BUCKET):
        for first in range(0, len(i), _ROWS):
            a, b = i[first : first + _ROWS], j[first : first + _ROWS]
            similarity = np.einsum("pd,pd->p", unit[a], unit[b])
            near = similarity >= cosine
            parts.append((a[near], b[near], np.maximum(0, 1 - similarity[near])))
    return pairs_of(parts, sum(uncompared(keys[:, table], _OF_A_BUCKET) for table in range(_TABLES)))


def sketches(
    shingles: Shaped[np.ndarray, "s"], bounds: Int[np.ndarray, "m"], bands: int, rows: int, seed: int = 0
) -> Shaped[np.ndarray, "n b"]:
    """MinHash keys of n sets: those of a Jaccard similarity J agree in a band with probability J^rows (Broder, 1997).

    A band's key is made of the minima of ``rows`` random hashes h(x) = (a x + b) mod 2⁶⁴ over the set.

    Args:
        shingles: members of all sets, one set after the other, as numbers that are hashes already.
        bounds: n + 1, where the sets begin and end; none is empty.
        bands: of keys.
        rows: minima in a key.
        seed: of the hashes.

    Returns:
        n × bands, uint64.
    """
    draw = np.random.default_rng(seed)
    values = shingles.astype(np.uint64)
    # The lower bits of a product depend on the lower bits alone: the upper half is compared.
    keys = np.zeros((len(bounds) - 1, bands), np.uint64)
    for band in range(bands):
        for factor, shift, mixer in draw.integers(1, 1 << 63, (rows, 3), dtype=np.uint64) | np.uint64(1):
            least = np.minimum.reduceat((values * factor + shift) >> np.uint64(32), bounds[:-1])
            keys[:, band] = (keys[:, band] ^ least) * mixer
    return keys
