"""Gradient shards: written batch by batch, read without a copy.

One shard is an uncompressed Arrow IPC file with the scalars of ``schemas.GRADIENTS``, the norms by layer, and either
the gradients (``gradient``) or their factors (``residual``, ``features``) as fixed-size lists; beside it stand the
scalars as Parquet, which bare DuckDB can read. What the gradients are is told in the file's own metadata, so that
shards of different models or projections are never mixed.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from tasks.artefacts import Artefact, Draft, Run
from tasks.errors import BadArtefact, BadConfig
from tasks.schemas import GRADIENTS

_ABOUT = b"gradsieve"
# Dense rows are built in pieces of so many values, so that the temporary product stays small beside the matrix.
_DENSE_VALUES = 1 << 22
# A record batch is written once it holds this much; a file ends once it does.
_BATCH_BYTES = 1 << 20
_FILE_BYTES = 1 << 30


class About(BaseModel):
    """What the gradients of a shard are; the same for all shards of a run."""

    model_config = ConfigDict(frozen=True)
    gradient: dict[str, Any]
    """The gradient kind and its options, as far as they decide the values (projection and seed among them)."""
    loss: tuple[str, float]
    """Kind and label smoothing."""
    checkpoints: tuple[str, ...]
    """Digests of the networks, one for each fold."""
    epochs: tuple[int, ...]
    """Epochs of each fold's networks."""
    layers: tuple[str, ...]
    """Names behind ``layer_norms``."""
    joined: str
    """How the terms of several checkpoints make one gradient: ``sum`` or ``stack``."""

    @classmethod
    def of(cls, schema: pa.Schema) -> About:
        """Read it off a shard's schema.

        Raises:
            BadArtefact: the shard does not tell.
        """
        told = (schema.metadata or {}).get(_ABOUT)
        if told is None:
            raise BadArtefact(
                where="a gradient shard",
                expected="its model and projection in the file's metadata",
                got="a file without",
                do="It was not written by gradsieve; delete its folder in the lake and run again.",
            )
        return cls.model_validate_json(told)

    def on(self, schema: pa.Schema) -> pa.Schema:
        """The schema that carries it."""
        return schema.with_metadata({_ABOUT: self.model_dump_json().encode()})


class Factors(NamedTuple):
    """Both factors of consecutive samples, as views into a mapped file."""

    rank: np.ndarray
    """Where each of them stands in ``GradientShards`` order."""
    residual: np.ndarray
    """n × c × k, c terms (one for each checkpoint)"""
    features: np.ndarray
    """n × c × h1"""


class ShardWriter:
    """Writes one shard into a draft: files of bounded size, record batches of bounded size.

    Args:
        draft: the artefact being written.
        name: of the shard.
    """

    def __init__(self, draft: Draft, name: str) -> None:
        self.draft, self.name = draft, name
        self._waiting: list[pa.RecordBatch] = []
        self._waiting_bytes = 0
        self._scalars: list[pa.RecordBatch] = []
        self._files: list[int] = []
        self._sink: pa.OSFile | None = None
        self._writer: Any = None

    def __enter__(self) -> ShardWriter:
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows of ``schemas.gradient_shard``'s schema, carrying ``About``."""
        self._scalars.append(pa.RecordBatch.from_arrays([batch[name] for name in GRADIENTS.names], schema=GRADIENTS))
        self._waiting.append(batch)
        self._waiting_bytes += batch.nbytes
        if self._waiting_bytes >= _BATCH_BYTES:
            self._flush()

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            if self._waiting:
                self._flush()
            self._close()
            scalars = pa.Table.from_batches(self._scalars, GRADIENTS)
            pq.write_table(scalars, self.draft.path(f"gradients/{self.name}.parquet", len(scalars)), compression="zstd")
        elif self._sink is not None:
            self._sink.close()

    def _flush(self) -> None:
        if self._writer is None:
            self._sink = pa.OSFile(str(self.draft.path(self._path())), "wb")
            self._writer = pa.ipc.new_file(self._sink, self._waiting[0].schema)
            self._files.append(0)
        batch = self._waiting[0] if len(self._waiting) == 1 else pa.concat_batches(self._waiting)
        self._writer.write_batch(batch)
        self._files[-1] += batch.num_rows
        self._waiting, self._waiting_bytes = [], 0
        if self._sink is not None and self._sink.tell() >= _FILE_BYTES:
            self._close()

    def _close(self) -> None:
        if self._writer is not None and self._sink is not None:
            self._writer.close()
            self._sink.close()
            self.draft.path(self._path(len(self._files) - 1), self._files[-1])
            self._writer = self._sink = None

    def _path(self, place: int | None = None) -> str:
        place = len(self._files) if place is None else place
        return f"gradients/{self.name}{f'.{place:03}' if place else ''}.arrow"


class GradientShards:
    """All gradients of a run, ordered by sample_id whatever order the shards have.

    Raises:
        BadArtefact: a shard is of another model, projection or width than the first.
    """

    def __init__(self, run: Run, artefacts: list[Artefact]) -> None:
        paths = [(path, artefact) for artefact in artefacts for path in run.paths(artefact, ".arrow")]
        self._tables = [mapped(path) for path, _ in paths]
        first = self._tables[0].schema
        self.about = About.of(first)
        for table, (path, artefact) in zip(self._tables, paths, strict=True):
            about = About.of(table.schema)
            if about != self.about or not table.schema.equals(first):
                expected, got = _difference(self.about, about)
                raise BadArtefact(
                    where=str(path),
                    expected=f"gradients as in {paths[0][0].name}: {expected or _widths(first)}",
                    got=got or str(_widths(table.schema)),
                    do=f"It is of another model or projection; delete {artefact.folder} in the lake and run again.",
                )
        self.widths = _widths(first)

    def __len__(self) -> int:
        return sum(table.num_rows for table in self._tables)

    @property
    def factored(self) -> bool:
        """Whether the shards hold factors and not gradients."""
        return "residual" in self.widths

    @property
    def terms(self) -> int:
        """c, the factors' terms: one for each checkpoint."""
        return len(self.about.epochs)

    @property
    def dimensions(self) -> int:
        """p, the values of one gradient."""
        if not self.factored:
            return self.widths["gradient"]
        one = self.widths["residual"] * self.widths["features"] // self.terms**2
        return one * self.terms if self.about.joined == "stack" else one

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

    def _vectors(self) -> Iterator[tuple[np.ndarray, dict[str, np.ndarray]]]:
        """(rank, column → n × width views), record batch by record batch, zero-copy."""
        rank = np.empty(len(self), np.int64)
        rank[self._order] = np.arange(len(self))
        first = 0
        for table in self._tables:
            for batch in table.to_batches():
                n = batch.num_rows
                # flatten(), not .values: .values ignores the offset of a sliced array.
                yield (
                    rank[first : first + n],
                    {
                        name: batch[name].flatten().to_numpy(zero_copy_only=True).reshape(n, width)
                        for name, width in self.widths.items()
                    },
                )
                first += n

    def factors(self) -> Iterator[Factors]:
        """Both factors, record batch by record batch, zero-copy.

        Raises:
            BadConfig: these gradients are stored whole or projected, not as factors.
        """
        if not self.factored:
            raise BadConfig(
                where="a detector that works on factors",
                expected="gradients of the kind head",
                got=f"the kind {self.about.gradient.get('kind')}, which has none",
                do="Use --gradient.kind head, or another detector.",
            )
        for rank, columns in self._vectors():
            residual, features = columns["residual"], columns["features"]
            yield Factors(rank, *(side.reshape(len(rank), self.terms, -1) for side in (residual, features)))

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(rank, gradients as rows of p float32), in pieces of bounded size; the same for every gradient kind."""
        size = max(1, _DENSE_VALUES // self.dimensions)
        if not self.factored:
            for rank, columns in self._vectors():
                for at in range(0, len(rank), size):
                    yield rank[at : at + size], np.asarray(columns["gradient"][at : at + size], np.float32)
            return
        import torch

        from tasks.kernels.outer import joined_outer

        joined: Any = self.about.joined
        for factors in self.factors():
            for at in range(0, len(factors.rank), size):
                # A copy of the piece: torch warns of arrays that cannot be written to.
                left, right = (torch.from_numpy(np.array(side[at : at + size], np.float32)) for side in factors[1:])
                yield factors.rank[at : at + size], joined_outer(left, right, joined).numpy()

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
                do="Use the detectors l1 or l2, which need no matrix, a projection, or raise the detector's max_gib.",
            )
        matrix = np.empty((len(self), self.dimensions), np.float32)
        for rank, rows in self.blocks():
            matrix[rank] = rows
        return matrix


def mapped(path: Path) -> pa.Table:
    """A shard's file, mapped into memory.

    Raises:
        BadArtefact: it is not a whole Arrow IPC file.
    """
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


def _widths(schema: pa.Schema) -> dict[str, int]:
    names = [name for name in ("gradient", "residual", "features") if name in schema.names]
    return {name: schema.field(name).type.list_size for name in names}


def _difference(first: About, other: About) -> tuple[str, str]:
    """The first thing in which two shards are of different origin, told for both; empty where there is none."""
    for name in About.model_fields:
        if getattr(first, name) != getattr(other, name):
            return f"{name} {getattr(first, name)}", f"{name} {getattr(other, name)}"
    return "", ""
