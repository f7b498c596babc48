"""Which split a row is in: the one that its source names, else one drawn by its content."""

from __future__ import annotations

import hashlib

import numpy as np

from tasks.ingestion.readers import Chunk
from tasks.pipeline.schemas import SPLIT_NAMES


def splits_of(chunk: Chunk, hashes: list[str], held_out: dict[str, float]) -> tuple[list[str], np.ndarray]:
    """The split of each row, and which rows name one that does not exist.

    Args:
        chunk: the rows.
        hashes: their content hashes.
        held_out: the share of each split that is set aside where the source names none.
    """
    n = len(hashes)
    if isinstance(chunk.split, str):
        return [chunk.split] * n, np.zeros(n, bool)
    if chunk.split is None:
        return _drawn(chunk, hashes, held_out), np.zeros(n, bool)
    names = [None if name is None else SPLIT_NAMES.get(name.lower()) for name in chunk.split.to_pylist()]
    return [name or "" for name in names], np.array([name is None for name in names], bool)


def _drawn(chunk: Chunk, hashes: list[str], held_out: dict[str, float]) -> list[str]:
    """By content, or by group: copies and members of a group land together, and new rows move no old ones."""
    groups = [None] * len(hashes) if chunk.group is None else chunk.group.to_pylist()
    keys = [
        h if group is None else hashlib.blake2b(group.encode(), digest_size=16).hexdigest()
        for h, group in zip(hashes, groups, strict=True)
    ]
    names = [*held_out, "train"]
    ends = np.cumsum(list(held_out.values())) * 2**32
    indices = np.searchsorted(ends, [int(key[:8], 16) for key in keys], side="right")
    return [names[index] for index in indices]
