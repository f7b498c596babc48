"""Rows of a table to rows of samples: which can be used, and why the others cannot."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.core.errors import BadInput
from tasks.dataset.payload import Payload
from tasks.dataset.targets import TargetKind
from tasks.ingestion.label_forms import unmarked
from tasks.ingestion.readers import Chunk, Reject
from tasks.ingestion.tables.column_names import shown_names, typed_names
from tasks.ingestion.tables.columns import as_text, as_texts, cast, without_view
from tasks.ingestion.tables.label_column import ignore_rejects, labels_of
from tasks.ingestion.tables.picture_cells import Beside, as_pictures
from tasks.ingestion.tables.profile import codes, without_markers
from tasks.ingestion.tables.weight_column import reject_bad_weights
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
    notes: tuple[str, ...] = ()
    """What is to be told about the source."""
    objects: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Columns of objects that stand in the table as text, each with the paths of their values."""
    nested: frozenset[str] = frozenset()
    """Columns of a format without types that hold lists or mappings, as JSON text."""
    path: Path | None = None
    """The file itself: paths in it lead to pictures beside it."""
    names: pa.Array | None = None
    """What the source calls the rows, where no column of ids says it and the inputs do not."""

    @property
    def beside(self) -> Beside | None:
        """Where those lie."""
        return None if self.path is None else Beside.of(self.path)


@dataclass(frozen=True)
class Mapping:
    """The roles of a table's columns, checked against its schema."""

    payload: Payload | None
    """None of a table whose inputs are columns: which, is settled once all its rows are known."""
    required: tuple[str, ...]
    """Columns that every batch must have: those that options name as inputs."""
    carried: dict[str, pa.DataType]
    """Columns without a role, as the first batch has them: they go along into the samples and every published
    version."""
    unused: dict[str, str]
    """Why no network reads those, where that is known."""
    notes: tuple[str, ...] = ()
    """What is to be told about the inputs."""


class Roles(NamedTuple):
    """The columns that are no inputs."""

    label: str
    says: tuple[TargetKind, str]
    """What a label says, and what stands between the labels of a set."""
    id: str | None
    split: str | None
    group: str | None
    clean_label: str | None
    missing: tuple[str, ...] = ()
    """Cells that hold no value, beside empty ones."""
    no_label: tuple[str, ...] = ()
    """Labels that mean that there is none."""
    weights: str | None = None
    """How much a row counts; it goes along as it came, so that it is none of ``columns``."""

    @property
    def reads_values(self) -> bool:
        """Whether labels are read for what they say: numbers and sets. Classes are known once all of them are seen."""
        return self.says[0] in ("number", "labels")

    @property
    def set_aside(self) -> Roles:
        """Of a file of which nothing is trained on: it needs no column of splits, and none of weights."""
        return self._replace(split=None, weights=None)

    @property
    def columns(self) -> tuple[str | None, ...]:
        """The names of all of them."""
        return self.label, self.id, self.split, self.group, self.clean_label

    @property
    def named(self) -> dict[str, str | None]:
        """The same by the options that name them."""
        return dict(zip(("label", "id", "split", "group", "clean_label"), self.columns, strict=True))


class Sieve:
    """Which of some rows are kept: all, less those that are rejected.

    Args:
        rows: their numbers in the source.
        rejects: those that have been rejected before.
    """

    def __init__(self, rows: np.ndarray, rejects: list[Reject]) -> None:
        self.rows, self.rejects = rows, list(rejects)
        self.keep = np.ones(len(rows), bool)

    def reject(self, bad: np.ndarray, reason: str, detail: str, values: pa.Array | None = None) -> None:
        """Reject the rows ``bad``, each once, for the first reason there is."""
        for i in np.flatnonzero(bad & self.keep):
            example = "" if values is None else f": {str(values[int(i)].as_py())[:80]!r}"
            self.rejects.append(Reject(int(self.rows[i]), reason, f"{detail}{example}"))
        self.keep[bad] = False


def chunk_of(batch: Batch, mapping: Mapping, roles: Roles, split: str | None, *, set_aside: bool = False) -> Chunk:
    """The usable rows of a batch as samples, and the others with their reasons.

    Args:
        batch: of a file whose columns have been mapped.
        mapping: of its columns.
        roles: of the columns that are no inputs.
        split: of all rows; None where a column or ingest says it.
        set_aside: that split counts whatever a column says: nothing of the file is trained on.

    Raises:
        BadInput: the batch lacks a column that the first one had.
    """
    every, roles = roles, roles.set_aside if set_aside else roles
    _check_columns(batch, mapping, roles)
    sieve, table = Sieve(batch.rows, batch.rejects), batch.table
    inputs, names = _inputs(batch, mapping, roles, sieve)
    names = batch.names if names is None else names
    payload = inputs | _extra_columns(batch, mapping)
    given = table.column(roles.label)
    given = unmarked(given, roles.no_label) if roles.reads_values else given
    if roles.says[0] == "number":  # a survey's code for no answer is no number to learn
        given = without_markers(given, tuple(marker for marker in roles.missing if codes((marker,))))
    labels = labels_of(given, *roles.says, roles.label, sieve.reject)
    if roles.weights is not None:
        reject_bad_weights(table.column(roles.weights), roles.weights, roles.missing, sieve.reject)
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
        group=None if roles.group is None else without_markers(text(roles.group), roles.missing),
        source_id=names.filter(mask) if roles.id is None and names is not None else text(roles.id),
        rejects=sieve.rejects,
        unused=mapping.unused | _late(batch, mapping, every),
        notes=(*batch.notes, *mapping.notes),
    )


def _check_columns(batch: Batch, mapping: Mapping, roles: Roles) -> None:
    present = batch.table.schema.names
    named = (*roles.named.items(), ("weights", roles.weights))
    for option, name in named:
        if name is not None and name not in present:
            raise BadInput(
                where=batch.source,
                expected=f"a column {name!r}, as the first file has",
                got=shown_names(present[:20]),
                do=f"Give every file the column that --reader.{option.replace('_', '-')} names.",
            )
    missing = set(mapping.required) - set(batch.table.schema.names)
    if missing:
        common = [name for name in mapping.required if name not in missing]
        raise lacks_columns(batch.source, sorted(missing), batch.table.schema.names, common)


def lacks_columns(source: str, missing: list[str], present: list[str], common: list[str]) -> BadInput:
    """A file lacks what the first one has.

    Args:
        source: the file.
        missing: columns.
        present: columns.
        common: inputs that every file has.
    """
    return BadInput(
        where=source,
        expected=f"columns {', '.join(missing)}, as the first file has",
        got=shown_names(present[:20]),
        do="Give every file the same input columns"
        + (f", or name those that all have: --reader.features {typed_names(common)}." if common else "."),
    )


def _inputs(batch: Batch, mapping: Mapping, roles: Roles, sieve: Sieve) -> tuple[dict[str, pa.Array], pa.Array | None]:
    """The payload columns of images and texts, and what the source calls the images."""
    payload = mapping.payload
    if payload is None:
        return {}, None
    columns = {own_name(name): batch.table.column(name) for name in mapping.required}
    if payload.kind == "image":
        ((name, column),) = columns.items()
        cells = as_pictures(column, payload, name, batch.beside, sieve.reject)
        return {payload.columns[0]: cells.data}, cells.names
    return _texts(columns, payload, roles, sieve), None


def _texts(columns: dict[str, pa.Array], payload: Payload, roles: Roles, sieve: Sieve) -> dict[str, pa.Array]:
    trim = roles.says[0] != "response"
    if payload.tokens and payload.tokens.joined:
        parts = {name: as_text(column, trim=trim) for name, column in columns.items()}
        missing = np.all([part.is_null().to_numpy(zero_copy_only=False) for part in parts.values()], axis=0)
        sieve.reject(missing, "missing value", f"columns {', '.join(parts)}")
        return parts
    return {name: as_texts(column, name, sieve.reject, trim=trim) for name, column in columns.items()}


def _extra_columns(batch: Batch, mapping: Mapping) -> dict[str, pa.Array]:
    """The columns without a role; one that bears a name of ours keeps its values under another.

    Of a table whose roles are not settled they are as they came, and one that a file lacks is not there.
    """
    columns: dict[str, pa.Array] = {}
    present = set(batch.table.schema.names)
    for name, kind in mapping.carried.items():
        if name in present:
            column = without_view(batch.table.column(name))
            columns[own_name(name)] = (
                column if mapping.payload is None else as_carried(column, kind, batch.source, name)
            )
        elif mapping.payload is not None:
            columns[own_name(name)] = pa.nulls(batch.table.num_rows, kind)
    return columns


def own_name(name: str) -> str:
    """What a sample calls a column of the dataset's own."""
    return f"original_{name}" if name.lower() in RESERVED_NAMES else name


def as_carried(column: pa.Array, kind: pa.DataType, where: str, name: str) -> pa.Array:
    """A column in the type that it has in every file, no digit lost."""
    if column.type == kind:
        return column
    return as_text(column, trim=False) if kind == pa.string() else cast(column, kind, where, name, exact=True)


def _late(batch: Batch, mapping: Mapping, roles: Roles) -> dict[str, str]:
    """Columns that the first rows lack: no sample and no version has them."""
    names = {*mapping.required, *mapping.carried, *roles.columns}
    late = [name for name in batch.table.schema.names if name not in names]
    return dict.fromkeys(late, "not in the first rows, so in no version either")
