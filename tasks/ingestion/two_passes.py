"""Rows to samples in two streaming passes: which rows are usable, what they are called, what they say in the end.

The first pass validates, hashes and spools; between the passes SQL asks what only the whole dataset can tell
(duplicates, classes nobody can learn); the second gives final ids and labels and writes the shards.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from tasks.core.errors import BadInput
from tasks.core.memory import give_back
from tasks.core.plugins import Component
from tasks.dataset.payload import Payload
from tasks.dataset.sample_ids import content_hashes
from tasks.ingestion.label_forms import LabelForms, canonical
from tasks.ingestion.label_noise import LabelNoise
from tasks.ingestion.readers import Chunk, Reject
from tasks.ingestion.rejects import NO_LABEL_REASON
from tasks.ingestion.splits import DRAW, draws_of, named_splits
from tasks.ingestion.spool import Spool
from tasks.ingestion.survey import Survey
from tasks.pipeline.schemas import SAMPLES, SPLITS


class Ingestion(Component):
    """How samples are checked and laid out."""

    max_rejects: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Fail the run when more than this share is rejected; rows without a label do not count unless they "
        "are more than half.",
    )
    shard_rows: int = Field(default=8192, ge=16, description="Samples per file; one extraction task works on one file.")


# ---- first pass: validate, hash, spool ---------------------------------------------------------------------------


def with_notes(chunks: Iterator[Chunk], notes: list[str]) -> Iterator[Chunk]:
    """The chunks, while what they have to tell is added to ``notes``, each thing once."""
    for chunk in chunks:
        notes += [note for note in chunk.notes if note not in notes]
        yield chunk


def limit_rows(chunks: Iterator[Chunk], limit: int | None, *, more: bool = True) -> Iterator[Chunk]:
    """At most ``limit`` rows of the training source; files of the other splits are read whole.

    Args:
        chunks: of all files, the training ones first.
        limit: rows; None of all.
        more: whether files of other splits follow.
    """
    count = 0
    for chunk in chunks:
        if limit is None or chunk.split in ("test", "validation"):
            yield chunk
            continue
        room = limit - count
        if room <= 0:
            if more:
                continue
            return
        count += min(len(chunk.rows), room)
        yield chunk if len(chunk.rows) <= room else _head(chunk, room)


def _head(chunk: Chunk, rows: int) -> Chunk:

    def cut(array: Any) -> Any:
        return array.slice(0, rows) if isinstance(array, pa.Array) else array

    last = chunk.rows[rows - 1].as_py()
    fields = {
        name: cut(getattr(chunk, name)) for name in ("rows", "label", "split", "clean_label", "group", "source_id")
    }
    payload = {name: cut(array) for name, array in chunk.payload.items()}
    rejects = [reject for reject in chunk.rejects if reject.row is not None and reject.row <= last]
    return Chunk(source=chunk.source, payload=payload, rejects=rejects, unused=chunk.unused, **fields)


@dataclass(frozen=True)
class Spooled:
    """What the pass over the rows tells beside them."""

    rejects: list[dict[str, Any]]
    read: int
    """Rows of the source."""
    unused: dict[str, str]
    """Columns that no network reads, each with the reason."""
    label_forms: LabelForms


def spool_rows(chunks: Iterable[Chunk], payload: Payload, markers: tuple[str, ...] | None, spool: Path) -> Spooled:
    """Write every usable row, hashed, to one file, and tell of the others.

    Args:
        chunks: the rows, their columns as samples keep them.
        payload: of the samples.
        markers: labels of classes that mean that there is none; None where labels are no classes.
        spool: the file.
    """
    rejects: list[dict[str, Any]] = []
    unused: dict[str, str] = {}
    forms = LabelForms()
    read, writer = 0, None
    try:
        for chunk in chunks:
            read += len(chunk.rows) + len(chunk.rejects)
            unused = chunk.unused | unused
            batch, bad = _hash_rows(chunk if markers is None else with_known_labels(chunk, markers, forms), payload)
            rejects += [{"source": chunk.source} | vars(reject) for reject in [*chunk.rejects, *bad]]
            writer = writer or pq.ParquetWriter(spool, batch.schema, compression="lz4")
            writer.write_batch(batch)
    finally:
        if writer is not None:
            writer.close()
    if writer is None:
        raise BadInput(where="the source", expected="rows", got="none", do="Check the path and the format.")
    return Spooled(rejects, read, unused, forms)


def with_known_labels(chunk: Chunk, markers: tuple[str, ...], forms: LabelForms) -> Chunk:
    """The chunk with its labels as they will be known, and what was merged counted."""
    label = canonical(chunk.label, markers)
    forms.add(chunk.label, label)
    clean = None if chunk.clean_label is None else canonical(chunk.clean_label, markers)
    return replace(chunk, label=label, clean_label=clean)


def _hash_rows(chunk: Chunk, payload: Payload) -> tuple[pa.RecordBatch, list[Reject]]:
    n = len(chunk.rows)
    hashes = content_hashes([chunk.payload[name] for name in payload.own])
    split, unknown = named_splits(chunk)
    missing = chunk.label.is_null().to_numpy(zero_copy_only=False)
    keep = pa.array(~(missing | unknown))
    rows = chunk.rows.to_numpy()
    bad = [Reject(int(rows[i]), NO_LABEL_REASON, "no label, or a mark for none") for i in np.flatnonzero(missing)]
    bad += [
        Reject(int(rows[i]), "unknown split", f"{chunk.split[int(i)]} is none of {', '.join(SPLITS)}")  # type: ignore[index]
        for i in np.flatnonzero(unknown & ~missing)
    ]

    def text(array: pa.Array | None) -> pa.Array:
        return pa.nulls(n, pa.string()) if array is None else array

    ours = {
        "sample_id": pa.array(hashes, pa.string()),
        "source": pa.array([chunk.source] * n, pa.string()),
        "row": chunk.rows.cast(pa.int64()),
        "split": pa.array(split, pa.string()),
        "label": pc.fill_null(chunk.label, ""),
        "clean_label": text(chunk.clean_label),
        "group": text(chunk.group),
        "source_id": text(chunk.source_id),
    }
    fields = [*SAMPLES, *(pa.field(name, array.type) for name, array in chunk.payload.items())]
    columns = [*ours.values(), *chunk.payload.values(), draws_of(chunk, hashes)]
    schema = pa.schema([*fields, pa.field(DRAW, pa.uint32())])
    return pa.RecordBatch.from_arrays(columns, schema=schema).filter(keep), bad


# Of a row group of samples: so many rows, or fewer where they are heavier than 16 KiB.
_GROUP_ROWS, _GROUP_BYTES = 4096, 1 << 26

# ---- second pass: final ids, final labels, final shards ----------------------------------------------------------


class _Shards:
    """The files of one split, cut to equal numbers of rows, each in row groups; what is held is one of these."""

    def __init__(self, split: str, rows: int, path: Callable[[str, int], Path]) -> None:
        self.split, self.rows, self.path = split, rows, path
        self.row_count = 0
        self._shard = 0
        self._shard_rows = 0
        self._writer: pq.ParquetWriter | None = None
        self._buffer: list[pa.RecordBatch] = []
        self._buffer_rows = self._buffer_bytes = 0

    def add(self, batch: pa.RecordBatch) -> None:
        """Write as many whole row groups as there are rows for, and end a file that has all of its."""
        while batch.num_rows:
            room = min(_GROUP_ROWS - self._buffer_rows, self.rows - self._shard_rows - self._buffer_rows)
            part, batch = batch.slice(0, room), batch.slice(room)
            self._buffer.append(part)
            self._buffer_rows += part.num_rows
            self._buffer_bytes += part.nbytes
            is_full = self._shard_rows + self._buffer_rows == self.rows
            if is_full or self._buffer_rows == _GROUP_ROWS or self._buffer_bytes >= _GROUP_BYTES:
                self._write()
            if is_full:
                self._end()

    def close(self) -> None:
        """Write the rest."""
        self._write()
        self._end()

    def _write(self) -> None:
        """A row group."""
        if not self._buffer_rows:
            return
        group = pa.Table.from_batches(self._buffer).combine_chunks()
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._target(0), group.schema, compression="zstd")
        self._writer.write_table(group, row_group_size=_GROUP_ROWS)
        self._shard_rows += group.num_rows
        self._buffer, self._buffer_rows, self._buffer_bytes = [], 0, 0

    def _end(self) -> None:
        """The file is whole."""
        if self._writer is None:
            return
        self._writer.close()
        self._target(self._shard_rows)
        self.row_count += self._shard_rows
        self._shard, self._shard_rows, self._writer = self._shard + 1, 0, None
        give_back()

    def _target(self, rows: int) -> Path:
        return self.path(f"samples/{self.split}-{self._shard:05d}.parquet", rows)


def write_shards(
    spool: Spool,
    survey: Survey,
    payload: Payload,
    label_noise: LabelNoise | None,
    path: Callable[[str, int], Path],
    shard_rows: int,
) -> dict[str, Any]:
    """Write ``samples/<split>-00000.parquet`` … of ``shard_rows`` rows each, in the source's order.

    Args:
        spool: what the first pass wrote.
        survey: what the whole dataset told.
        payload: of the samples.
        label_noise: label flips to plant on the training split, if any.
        path: gives the place of a file of so many rows.
        shard_rows: rows a file.

    Returns:
        Facts: classes, samples by split, planted flips, texts that are longer than networks read.
    """
    shards = {split: _Shards(split, shard_rows, path) for split in SPLITS}
    flip_count, index, cut = 0, 0, 0
    for batch in spool.batches():
        final, flips = _finalise(batch, index, survey, label_noise)
        index += batch.num_rows
        flip_count += flips
        if payload.tokens:
            cut += payload.tokens.cut([final[name].to_pylist() for name in payload.columns], payload.shape)
        for split, shard in shards.items():
            shard.add(final.filter(pc.equal(final["split"], split)))
    for shard in shards.values():
        shard.close()
    target = {} if survey.target.kind == "class" else {"target": survey.target.model_dump(mode="json")}
    texts = {"cut": cut} if payload.tokens else {}
    return (
        target
        | texts
        | {
            "classes": list(survey.target.classes),
            "splits": {split: shard.row_count for split, shard in shards.items()},
            "planted": flip_count,
        }
    )


def _finalise(
    batch: pa.RecordBatch, first: int, survey: Survey, label_noise: LabelNoise | None
) -> tuple[pa.RecordBatch, int]:
    ids = survey.names(first, batch["sample_id"].to_pylist())
    keep = survey.keep_mask(first, batch.num_rows)
    columns = dict(zip(batch.schema.names, batch.columns, strict=True)) | {"sample_id": pa.array(ids, pa.string())}
    flips = 0
    if label_noise is not None:
        labels, clean_labels, flips = label_noise.plant(batch, ids, keep)
        columns |= {"label": labels, "clean_label": clean_labels}
    final = pa.RecordBatch.from_arrays(list(columns.values()), schema=batch.schema)
    return final.filter(pa.array(keep)), flips
