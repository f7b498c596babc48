"""Fold and canary of a shard's samples, without all samples being read once more for each shard.

A process keeps what the plan says of every sample, sorted by id, and looks a shard's samples up in it: m log n where
reading it again for each of n/m shards takes n²/m. Where that would take more than its part of the run's memory the
plan is read again.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.dataset.samples import fold_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.planning.plan import Plan

# A part of the run's memory, and what a sample takes of it: an id of 32 letters, its place and its fold or label.
_PART, _BYTES = 8, 48


class PlannedSamples(NamedTuple):
    """What a plan says of the samples of one shard."""

    fold: np.ndarray
    """n int16"""
    rows: np.ndarray
    """Which of them are canaries."""
    planted: pa.Array
    """Their planted labels, as text."""


def planned_samples(run: Run, plan: Plan, ids: np.ndarray) -> PlannedSamples:
    """Look the samples ``ids`` up.

    Raises:
        BadArtefact: a sample has no fold.
    """
    names = pa.array(ids, pa.string())
    at, folds = _find(run, plan.folds, "fold", names)
    # fold_of tells of a sample without one, too.
    fold = folds.take(pa.array(at)).to_numpy() if (at >= 0).all() else fold_of(run, plan.folds, ids)
    if plan.canaries is None:
        return PlannedSamples(fold, np.zeros(0, np.int64), pa.array([], pa.string()))
    at, planted = _find(run, plan.canaries, "planted_label", names)
    rows = np.flatnonzero(at >= 0)
    return PlannedSamples(fold, rows, planted.take(pa.array(at[rows])))


def _find(run: Run, artefact: Artefact, column: str, ids: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """(where each of ``ids`` stands in a column of an artefact's table, −1 where it does not; the column)."""
    path = run.path(artefact)
    with pq.ParquetFile(path) as file:
        is_small = _BYTES * file.metadata.num_rows <= run.memory // _PART
    table = _read(path, column) if is_small else _Table.of(path, column)
    return table.find(ids), table.values


class _Table(NamedTuple):
    """A value for each of n ids."""

    keys: np.ndarray | None
    """Sorted, n of dtype S; None where they are of different lengths."""
    order: np.ndarray
    """Where each of them stands."""
    ids: pa.Array
    """In their own order; none where there are keys."""
    values: pa.Array

    @classmethod
    def of(cls, path: Path, column: str) -> _Table:
        table = pq.read_table(path, columns=["sample_id", column])
        ids, values = (
            pa.concat_arrays(table[name].chunks) if len(table) else pa.array([], table[name].type)
            for name in ("sample_id", column)
        )
        keys = _keys(ids)
        if keys is None:
            return cls(None, np.zeros(0, np.int64), ids, values)
        order = np.argsort(keys, kind="stable")
        return cls(keys[order], order, ids[:0], values)

    def find(self, ids: pa.Array) -> np.ndarray:
        """Where each of ``ids`` stands, int64; −1 where it does not."""
        keys = _keys(ids)
        if self.keys is None or keys is None:
            own = self.ids if self.keys is None else pa.array(self.keys[np.argsort(self.order)].astype(str))
            return pc.fill_null(pc.index_in(ids, value_set=own), -1).to_numpy().astype(np.int64)
        at = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[at] == keys, self.order[at], -1)


# Of folds and of canaries.
_read = lru_cache(maxsize=2)(_Table.of)


def _keys(ids: pa.Array) -> np.ndarray | None:
    """As fixed-width bytes; None of ids of different lengths."""
    offsets = np.frombuffer(ids.buffers()[1] or bytes(4), np.int32)[ids.offset : ids.offset + len(ids) + 1]
    lengths = np.diff(offsets)
    if not len(ids) or lengths.min() != lengths.max() or not lengths[0]:
        return None
    return np.frombuffer(ids.buffers()[2], f"S{lengths[0]}", len(ids), offsets[0])
