"""Gradient shards: written batch by batch, read without a copy.

One shard is an uncompressed Arrow IPC file with the scalars of ``schemas.GRADIENTS``, the norms by layer, and either
the gradients (``gradient``) or one of their factors (``features``) as fixed-size lists, with what the other
(``residual``) is made from while it is read (tasks/gradients/residuals.py); shards of before 0.7 hold it itself. Beside
it stand the scalars as Parquet, which bare DuckDB can read. What the gradients are is told in the file's own metadata,
so that shards of different models or projections are never mixed.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadArtefact, BadConfig
from tasks.gradients.residuals import SOURCES, residuals_of
from tasks.gradients.shard_metadata import ShardMetadata as ShardMetadata
from tasks.gradients.shard_metadata import difference
from tasks.gradients.shard_writer import ShardWriter as ShardWriter
from tasks.pipeline.arrow_files import MappedFile
from tasks.pipeline.arrow_files import map_table as map_table
from tasks.pipeline.artefacts import Artefact, Run

# The columns that hold a vector for each sample, as far as a run has them.
_VECTORS = ("gradient", "residual", "features", *SOURCES)
# Dense rows are built in pieces of so many values, so that the temporary product stays small beside the matrix.
_DENSE_VALUES = 1 << 22


class Factors(NamedTuple):
    """Both factors of consecutive samples; the features as views into a mapped file."""

    rank: np.ndarray
    """Where each of them stands in ``GradientShards`` order."""
    residual: np.ndarray
    """n × c × k, c terms (one for each checkpoint)"""
    features: np.ndarray
    """n × c × h1"""


class GradientShards:
    """All gradients of a run, ordered by sample_id whatever order the shards have.

    Args:
        run: whose lake.
        artefacts: what extract made.
        folder: which of their files: each sample's own, or ``canaries``, ``reference``.
        instead: a folder whose samples take the place of those with the same ids.

    Raises:
        BadArtefact: a shard is of another model, projection or width than the first.
    """

    def __init__(
        self, run: Run, artefacts: list[Artefact], folder: str = "gradients", instead: str | None = None
    ) -> None:
        self.largest = run.memory
        paths = [(path, artefact) for artefact in artefacts for path in run.paths(artefact, ".arrow", folder)]
        # Those that take others' places come last.
        mine = len(paths)
        if instead is not None:
            paths += [(path, artefact) for artefact in artefacts for path in run.paths(artefact, ".arrow", instead)]
        self._files = [MappedFile(path) for path, _ in paths]
        first = self._files[0].schema
        self.metadata = ShardMetadata.of(first)
        for file, (path, artefact) in zip(self._files, paths, strict=True):
            metadata = ShardMetadata.of(file.schema)
            if metadata != self.metadata or not file.schema.equals(first):
                expected, got = difference(self.metadata, metadata)
                raise BadArtefact(
                    where=str(path),
                    expected=f"gradients as in {paths[0][0].name}: {expected or _widths(first)}",
                    got=got or str(_widths(file.schema)),
                    do=f"It is of another model or projection; delete {artefact.folder} in the lake and run again.",
                )
        self.widths = _widths(first)
        # Where each record batch of all files starts.
        self._starts = np.cumsum([0, *(rows for file in self._files for rows in file.rows)])
        self._own = sum(sum(file.rows) for file in self._files[:mine])

    def __len__(self) -> int:
        return int(self._starts[-1]) - int(self._is_replaced.sum())

    @property
    def factored(self) -> bool:
        """Whether the shards hold factors and not gradients."""
        return "residual" in self.widths

    @property
    def terms(self) -> int:
        """c, the factors' terms: one for each checkpoint."""
        return len(self.metadata.epochs)

    @property
    def dimensions(self) -> int:
        """p, the values of one gradient."""
        if not self.factored:
            return self.widths["gradient"]
        one = self.widths["residual"] * self.widths["features"] // self.terms**2
        return one * self.terms if self.metadata.joined == "stack" else one

    @cached_property
    def _is_replaced(self) -> np.ndarray:
        """Positions in the files whose sample another one stands for; none without ``instead``."""
        if self._own == self._starts[-1]:
            return np.zeros(0, bool)
        ids = self._column("sample_id")
        mask = pc.is_in(ids, value_set=ids.slice(self._own)).to_numpy(zero_copy_only=False).copy()
        mask[self._own :] = False
        return mask

    @cached_property
    def _order(self) -> np.ndarray:
        """Position in the files of each sample, by sorted sample_id."""
        order = _sort_order(self._column("sample_id"))
        return order[~self._is_replaced[order]] if len(self._is_replaced) else order

    def _column(self, name: str) -> pa.Array:
        """A copy of one column, in the files' order."""
        # File by file, so that no more than one is mapped.
        files = [file for file in self._files if file.rows]
        return pa.concat_arrays([pa.concat_arrays([batch[name] for batch in file.batches()]) for file in files])

    def ids(self) -> pa.Array:
        """Sorted sample ids."""
        return self._column("sample_id").take(pa.array(self._order))

    def scalar(self, name: str) -> np.ndarray:
        """One of the scalar columns, by sorted sample_id."""
        return self._column(name).to_numpy(zero_copy_only=False)[self._order]

    def _views(self, batch: pa.RecordBatch, names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Stored column → n × width views: of those that are asked for, or that they are made from."""
        if "residual" in names and "target" in self.widths:
            names = (*(name for name in names if name != "residual"), *(n for n in SOURCES if n in self.widths))
        # flatten(), not .values: .values ignores the offset of a sliced array.
        flat = {name: batch[name].flatten().to_numpy(zero_copy_only=True) for name in names}
        return {name: values.reshape(batch.num_rows, self.widths[name]) for name, values in flat.items()}

    def _made(self, views: dict[str, np.ndarray], names: tuple[str, ...]) -> dict[str, np.ndarray]:
        """Just the columns that are asked for."""
        return {name: views[name] if name in views else residuals_of(views, self.metadata) for name in names}

    def vectors(self, *names: str) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """(rank, column → n × width views) of vector columns, batch by batch, zero-copy but for made residuals."""
        rank = np.full(int(self._starts[-1]), -1, np.int64)
        rank[self._order] = np.arange(len(self))
        first = 0
        for file in self._files:
            for batch in file.batches():
                ranks, views = rank[first : first + batch.num_rows], self._views(batch, names)
                first += batch.num_rows
                if len(self._is_replaced) and (ranks < 0).any():
                    mask = ranks >= 0
                    ranks, views = ranks[mask], {name: view[mask] for name, view in views.items()}
                if len(ranks):
                    yield ranks, self._made(views, names)

    def rows(self, ranks: np.ndarray, *names: str) -> dict[str, np.ndarray]:
        """Column → len(ranks) × width copies: the vectors of just these samples, which may repeat, in this order.

        Only the record batches that hold one of them are read.
        """
        indices = self._order[ranks]
        by_index = np.argsort(indices, kind="stable")
        cuts = np.searchsorted(indices[by_index], self._starts)
        schema = self._files[0].schema
        types = {name: schema.field(name).type.value_type.to_pandas_dtype() for name in names if name in schema.names}
        columns = {name: np.empty((len(ranks), self.widths[name]), types.get(name, np.float32)) for name in names}
        before = 0
        for file in self._files:
            only = [i for i in range(len(file.rows)) if cuts[before + i] < cuts[before + i + 1]]
            for i, batch in zip(only, file.batches(only), strict=True):
                some = by_index[cuts[before + i] : cuts[before + i + 1]]
                rows = indices[some] - self._starts[before + i]
                views = {name: view[rows] for name, view in self._views(batch, names).items()}
                for name, values in self._made(views, names).items():
                    columns[name][some] = values
            before += len(file.rows)
        return columns

    def matrix(self, name: str, into: np.ndarray | None = None) -> np.ndarray:
        """One vector column whole, n × width float32, by sorted sample_id; in an array of the caller's where given."""
        matrix = np.empty((len(self), self.widths[name]), np.float32) if into is None else into
        for rank, columns in self.vectors(name):
            matrix[rank] = columns[name]
        return matrix

    def factors(self) -> Iterator[Factors]:
        """Both factors, record batch by record batch; features zero-copy.

        Raises:
            BadConfig: these gradients are stored whole or projected, not as factors.
        """
        if not self.factored:
            raise BadConfig(
                where="a detector that works on factors",
                expected="gradients of the kind head",
                got=f"the kind {self.metadata.gradient.get('kind')}, which has none",
                do="Use --gradient.kind head, or another detector.",
            )
        for rank, columns in self.vectors("residual", "features"):
            residual, features = columns["residual"], columns["features"]
            yield Factors(rank, *(side.reshape(len(rank), self.terms, -1) for side in (residual, features)))

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(rank, gradients as rows of p float32), in pieces of bounded size; the same for every gradient kind."""
        size = max(1, _DENSE_VALUES // self.dimensions)
        if not self.factored:
            for rank, columns in self.vectors("gradient"):
                for at in range(0, len(rank), size):
                    yield rank[at : at + size], np.asarray(columns["gradient"][at : at + size], np.float32)
            return
        import torch

        from tasks.kernels.outer import joined_outer

        layout: Any = self.metadata.joined
        for factors in self.factors():
            for at in range(0, len(factors.rank), size):
                # A copy of the piece: torch warns of arrays that cannot be written to.
                left, right = (torch.from_numpy(np.array(side[at : at + size], np.float32)) for side in factors[1:])
                yield factors.rank[at : at + size], joined_outer(left, right, layout).numpy()

    @property
    def dense_bytes(self) -> int:
        """Size of the dense matrix: n × p float32."""
        return len(self) * self.dimensions * 4

    def dense(self, largest: int) -> np.ndarray:
        """The gradients as one n × p float32 matrix, by sorted sample_id.

        Args:
            largest: bytes the caller allows it to take.

        Raises:
            BadArtefact: it would take more.
        """
        if self.dense_bytes > largest:
            raise BadArtefact(
                where="the dense gradient matrix",
                expected=f"at most {largest / 2**30:.1f} GiB",
                got=f"{len(self):,} × {self.dimensions:,} float32 = {self.dense_bytes / 2**30:.1f} GiB",
                do="Use the detectors l1 or l2, which need no matrix, a projection, or raise --memory-gib.",
            )
        matrix = np.empty((len(self), self.dimensions), np.float32)
        for rank, rows in self.blocks():
            matrix[rank] = rows
        return matrix


def _sort_order(ids: pa.Array) -> np.ndarray:
    """Positions that sort these strings by their bytes (which for UTF-8 is by code points).

    Arrow's own sort takes 10 s for ten million; their first eight bytes as one number tell nearly all of them apart
    in one, and Arrow sorts the few that begin alike.
    """
    offsets = np.frombuffer(ids.buffers()[1], np.int32)[ids.offset : ids.offset + len(ids) + 1]
    text = np.frombuffer(ids.buffers()[2] or b"", np.uint8)
    key = np.zeros(len(ids), np.uint64)
    for byte in range(8 if len(text) else 0):
        at = offsets[:-1] + byte
        key = key << 8 | np.where(at < offsets[1:], text.take(at, mode="clip"), 0)
    order = np.argsort(key)
    key = key[order]
    alike = key[1:] == key[:-1]
    tied = np.flatnonzero(np.append(alike, False) | np.append(False, alike))
    if len(tied):
        # These places of the order stay together; what stands in them is sorted by the whole string.
        among = np.sort(order[tied])
        order[tied] = among[pc.call_function("sort_indices", [ids.take(pa.array(among))]).to_numpy()]
    return order


def _widths(schema: pa.Schema) -> dict[str, int]:
    names = [name for name in _VECTORS if name in schema.names]
    widths = {name: schema.field(name).type.list_size for name in names}
    if "target" in widths:
        widths["residual"] = widths.get("earlier_logits", 0) + widths["logits"]
    return widths
