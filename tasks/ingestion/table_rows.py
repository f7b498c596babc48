"""Rows of a table to rows of samples: which can be used, and why the others cannot."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.core.errors import BadInput
from tasks.dataset.payload import Payload
from tasks.dataset.targets import TargetKind
from tasks.ingestion.columns import as_images, as_numbers, as_text, as_texts, as_vectors, cast, is_list
from tasks.ingestion.label_column import ignore_rejects, labels_of
from tasks.ingestion.readers import Chunk, Reject
from tasks.pipeline.schemas import SAMPLES

# Our own columns, and those that DuckDB adds to a table when asked where a row stands.
RESERVED_NAMES = (*SAMPLES.names, "filename", "file_row_number", "__file")


@dataclass(frozen=True)
class Batch:
    """Consecutive rows of a table, as a format reads them."""

    source: str
    table: pa.RecordBatch
    rows: np.ndarray
    rejects: list[Reject] = field(default_factory=list)
    nested: frozenset[str] = frozenset()
    """Columns of a format without types that hold lists or mappings, as JSON text."""


@dataclass(frozen=True)
class Mapping:
    """The roles of a table's columns, checked against its schema."""

    payload: Payload
    widths: dict[str, int]
    """Values a row has in each payload column; 1 for a number."""
    types: dict[str, pa.DataType]
    """The type each payload column has in every batch, as the first one has it."""
    carried: dict[str, pa.DataType]
    """Columns without a role: they go along untouched into the samples and every published version."""
    unused: dict[str, str]
    """Why no network reads those."""


class Roles(NamedTuple):
    """The columns that are no inputs."""

    label: str
    says: tuple[TargetKind, str]
    """What a label says, and what stands between the labels of a set."""
    id: str | None
    split: str | None
    group: str | None
    clean_label: str | None

    @property
    def columns(self) -> tuple[str | None, ...]:
        """The names of all of them."""
        return self.label, self.id, self.split, self.group, self.clean_label


class Sieve:
    """Which rows of a batch are kept: all, less those that are rejected."""

    def __init__(self, batch: Batch) -> None:
        self.rows, self.rejects = batch.rows, list(batch.rejects)
        self.keep = np.ones(batch.table.num_rows, bool)

    def reject(self, bad: np.ndarray, reason: str, detail: str, values: pa.Array | None = None) -> None:
        """Reject the rows ``bad``, each once, for the first reason there is."""
        for i in np.flatnonzero(bad & self.keep):
            example = "" if values is None else f": {str(values[int(i)].as_py())[:80]!r}"
            self.rejects.append(Reject(int(self.rows[i]), reason, f"{detail}{example}"))
        self.keep[bad] = False


def chunk_of(batch: Batch, mapping: Mapping, roles: Roles, split: str | None) -> Chunk:
    """The usable rows of a batch as samples, and the others with their reasons.

    Args:
        batch: of a file whose columns have been mapped.
        mapping: of its columns.
        roles: of the columns that are no inputs.
        split: of all rows; None where a column or ingest says it.

    Raises:
        BadInput: the batch lacks a column that the first one had.
    """
    _check_columns(batch, mapping)
    sieve, table = Sieve(batch), batch.table
    payload = _inputs(batch, mapping, roles, sieve) | _extra_columns(batch, mapping)
    labels = labels_of(table.column(roles.label), *roles.says, roles.label, sieve.reject)
    clean = None if roles.clean_label is None else table.column(roles.clean_label)
    truth = None if clean is None else labels_of(clean, *roles.says, roles.clean_label or "", ignore_rejects)
    mask = pa.array(sieve.keep)

    def text(name: str | None) -> pa.Array | None:
        return None if name is None else as_text(table.column(name)).filter(mask)

    return Chunk(
        source=batch.source,
        rows=pa.array(batch.rows).filter(mask),
        label=labels.filter(mask),
        payload={name: column.filter(mask) for name, column in payload.items()},
        split=text(roles.split) if roles.split else split,
        clean_label=None if truth is None else truth.filter(mask),
        group=text(roles.group),
        source_id=text(roles.id),
        rejects=sieve.rejects,
        unused=mapping.unused | _late(batch, mapping, roles),
    )


def _check_columns(batch: Batch, mapping: Mapping) -> None:
    missing = {*mapping.payload.own, *mapping.carried} - set(batch.table.schema.names)
    if missing:
        raise BadInput(
            where=batch.source,
            expected=f"columns {', '.join(sorted(missing))}, as the first file has",
            got=", ".join(batch.table.schema.names[:20]),
            do="Give every file the same columns.",
        )


def _inputs(batch: Batch, mapping: Mapping, roles: Roles, sieve: Sieve) -> dict[str, pa.Array]:
    """The payload columns, each of the type it has in every batch."""
    inputs: dict[str, pa.Array] = {}
    for name in mapping.payload.own:
        column = batch.table.column(name)
        if mapping.payload.kind == "image":
            values = as_images(column, mapping.payload, name, sieve.reject)
        elif mapping.payload.tokens and mapping.payload.tokens.joined:
            values = as_text(column, trim=roles.says[0] != "response")
        elif mapping.payload.kind == "tokens":
            values = as_texts(column, name, sieve.reject, trim=roles.says[0] != "response")
        elif is_list(mapping.types[name]):
            values = as_vectors(column, mapping.widths[name], name, sieve.reject)
        else:
            values = as_numbers(column, name, sieve.reject)
        inputs[name] = cast(values, mapping.types[name], batch.source, name)
    if mapping.payload.tokens and mapping.payload.tokens.joined:
        missing = np.all([column.is_null().to_numpy(zero_copy_only=False) for column in inputs.values()], axis=0)
        sieve.reject(missing, "missing value", f"columns {', '.join(inputs)}")
    return inputs


def _extra_columns(batch: Batch, mapping: Mapping) -> dict[str, pa.Array]:
    """The columns without a role; one that bears a name of ours keeps its values under another."""
    columns: dict[str, pa.Array] = {}
    for name, kind in mapping.carried.items():
        column = batch.table.column(name)
        if column.type != kind:
            column = as_text(column) if kind == pa.string() else cast(column, kind, batch.source, name)
        columns[f"original_{name}" if name in RESERVED_NAMES else name] = column
    return columns


def _late(batch: Batch, mapping: Mapping, roles: Roles) -> dict[str, str]:
    """Columns that the first rows lack: no sample and no version has them."""
    names = {*mapping.payload.own, *mapping.carried, *roles.columns}
    late = [name for name in batch.table.schema.names if name not in names]
    return dict.fromkeys(late, "not in the first rows, so in no version either")
