"""Gradient shards: written whole, read without a copy.

One shard is an uncompressed Arrow IPC file with the scalars of ``schemas.GRADIENTS`` and both factors as fixed-size
lists of float32, and beside it the scalars as Parquet, which bare DuckDB can read.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artefacts import Artefact, Run
from tasks.errors import BadArtefact
from tasks.schemas import GRADIENTS

# Dense rows that are built at a time, so that the temporary product stays small beside the matrix.
_DENSE_ROWS = 4096


class Factors(NamedTuple):
    """Both factors of consecutive samples, as views into a mapped file."""

    rank: np.ndarray
    """Where each of them stands in ``GradientShards`` order."""
    residual: np.ndarray
    """float32, n × k"""
    features: np.ndarray
    """float32, n × h1"""


def write_shard(table: pa.Table, arrow: Path, parquet: Path) -> None:
    """Write one shard and its scalars."""
    with pa.OSFile(str(arrow), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    pq.write_table(table.select(GRADIENTS.names), parquet, compression="zstd")


class GradientShards:
    """All gradients of a run, ordered by sample_id whatever order the shards have.

    Raises:
        BadArtefact: a shard has other widths than the first: it belongs to another model.
    """

    def __init__(self, run: Run, artefacts: list[Artefact]) -> None:
        self._tables = [_mapped(path) for artefact in artefacts for path in run.paths(artefact, ".arrow")]
        first = self._tables[0].schema
        for table, artefact in zip(self._tables, artefacts, strict=True):
            if table.schema != first:
                raise BadArtefact(
                    where=f"{artefact.folder}",
                    expected=f"k, h1 = {_widths(first)}, as in the first shard",
                    got=f"{_widths(table.schema)}",
                    do="The shards are of different models; delete that folder in the lake and run again.",
                )
        self.classes, self.width = _widths(first)

    def __len__(self) -> int:
        return sum(table.num_rows for table in self._tables)

    @cached_property
    def _order(self) -> np.ndarray:
        return np.argsort(np.asarray(self._column("sample_id").to_pylist(), dtype=object), kind="stable")

    def _column(self, name: str) -> pa.ChunkedArray:
        return pa.chunked_array([chunk for table in self._tables for chunk in table[name].chunks])

    def ids(self) -> pa.Array:
        """Sorted sample ids."""
        return self._column("sample_id").take(pa.array(self._order)).combine_chunks()

    def scalar(self, name: str) -> np.ndarray:
        """One of the scalar columns, by sorted sample_id."""
        return self._column(name).to_numpy()[self._order]

    def factors(self) -> Iterator[Factors]:
        """Both factors, record batch by record batch, zero-copy."""
        rank = np.empty(len(self), np.int64)
        rank[self._order] = np.arange(len(self))
        first = 0
        for table in self._tables:
            for batch in table.to_batches():
                n = batch.num_rows
                # flatten(), not .values: .values ignores the offset of a sliced array.
                residual = batch["residual"].flatten().to_numpy(zero_copy_only=True).reshape(n, self.classes)
                features = batch["features"].flatten().to_numpy(zero_copy_only=True).reshape(n, self.width)
                yield Factors(rank[first : first + n], residual, features)
                first += n

    @property
    def dense_bytes(self) -> int:
        """Size of the dense matrix: n × k·h1 float32."""
        return len(self) * self.classes * self.width * 4

    def dense(self, largest: int) -> np.ndarray:
        """The dense gradients, n × k·h1 float32, by sorted sample_id.

        Args:
            largest: bytes the caller allows it to take.

        Raises:
            BadArtefact: it would take more.
        """
        from tasks.kernels.outer import dense_gradient

        if self.dense_bytes > largest:
            raise BadArtefact(
                where="the dense gradient matrix",
                expected=f"at most {largest / 2**30:.1f} GiB",
                got=f"{len(self):,} × {self.classes * self.width:,} float32 = {self.dense_bytes / 2**30:.1f} GiB",
                do="Use the detectors l1 or l2, which need no matrix, or raise the detector's max_gib.",
            )
        matrix = np.empty((len(self), self.classes * self.width), np.float32)
        block = np.empty((_DENSE_ROWS, matrix.shape[1]), np.float32)
        for rank, residual, features in self.factors():
            for at in range(0, len(rank), _DENSE_ROWS):
                part = slice(at, at + _DENSE_ROWS)
                rows = block[: len(rank[part])]
                dense_gradient(residual[part], features[part], rows)
                matrix[rank[part]] = rows
        return matrix


def _mapped(path: Path) -> pa.Table:
    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid as error:
        raise BadArtefact(
            where=str(path),
            expected="a whole Arrow IPC file",
            got=str(error),
            do="Delete its folder in the lake and run again: the shard is then extracted anew.",
        ) from error


def _widths(schema: pa.Schema) -> tuple[int, int]:
    return schema.field("residual").type.list_size, schema.field("features").type.list_size
