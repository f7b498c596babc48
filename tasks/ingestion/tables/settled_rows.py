"""Rows of a table whose roles are settled: each column in the type it keeps, and the rows that cannot be used."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from tasks.dataset.encoders import cells
from tasks.ingestion.readers import Chunk
from tasks.ingestion.tables.columns import RejectRows, as_vectors, cast, parse_numbers
from tasks.ingestion.tables.profile import Profile, without_markers
from tasks.ingestion.tables.roles import Column
from tasks.ingestion.tables.table_options import TableOptions
from tasks.ingestion.tables.table_rows import Sieve, as_carried


@dataclass(frozen=True)
class StoredColumn:
    """A column as samples keep it."""

    column: Column
    kind: pa.DataType
    """Its type in every shard."""
    length: int = 1
    """Of lists of numbers."""

    @property
    def is_plain(self) -> bool:
        """Whether it is numbers, none of them missing: a network needs no encoder for it."""
        is_number = pa.types.is_integer(self.kind) or pa.types.is_floating(self.kind)
        return (is_number or pa.types.is_fixed_size_list(self.kind)) and not self.column.missing


def stored_column(column: Column, types: list[pa.DataType], profile: Profile, options: TableOptions) -> StoredColumn:
    """The type that a column keeps: of numbers one that is counted in, of all others as they came."""
    length = profile.length
    one = types[0] if len(types) == 1 else _common(types, has_long=profile.has_long)
    counted = one.value_type if pa.types.is_dictionary(one) else one
    if column.is_input and column.kind == "numbers":
        return StoredColumn(column, options.settle_input(types[0], length), length)
    if column.is_input and (column.kind == "number" or (column.kind == "boolean" and _is_complete(column, types))):
        return StoredColumn(column, options.settle_input(counted, 1))
    return StoredColumn(column, options.settle_carried(one))


def _is_complete(column: Column, types: list[pa.DataType]) -> bool:
    return not column.missing and all(map(pa.types.is_boolean, types))


def _common(types: list[pa.DataType], *, has_long: bool) -> pa.DataType:
    """int64 of integers, float64 of numbers of several types that it holds, text of all else."""
    if all(pa.types.is_integer(kind) and kind != pa.uint64() for kind in types):
        return pa.int64()
    numbers = all(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) for kind in types
    )
    return pa.float64() if numbers and not has_long else pa.string()


def settled_chunk(chunk: Chunk, columns: list[StoredColumn], options: TableOptions) -> Chunk:
    """A chunk as it came, with its columns as samples keep them and without the rows that cannot be used."""
    sieve = Sieve(chunk.rows.to_numpy(), chunk.rejects)
    payload: dict[str, pa.Array] = {}
    for stored in columns:
        name = stored.column.name
        came = chunk.payload.get(name)
        if came is None:
            payload[name] = pa.nulls(len(chunk.rows), stored.kind)
        elif not stored.column.is_input:
            payload[name] = as_carried(came, stored.kind, chunk.source, name)
        elif stored.column.kind == "numbers":
            values = as_vectors(came, stored.length, name, sieve.reject)
            payload[name] = cast(values, stored.kind, chunk.source, name)
        else:
            payload[name] = _input(without_markers(came, options.missing), stored, chunk.source, sieve.reject)
    thin = ("rows", "label", "split", "clean_label", "group", "source_id")
    mask = pa.array(sieve.keep)
    arrays = {name: array.filter(mask) for name in thin if isinstance(array := getattr(chunk, name), pa.Array)}
    payload = {name: column.filter(mask) for name, column in payload.items()}
    return replace(chunk, payload=payload, rejects=sieve.rejects, **arrays)


def _input(column: pa.Array, stored: StoredColumn, where: str, reject: RejectRows) -> pa.Array:
    """An input column, null where a value is missing."""
    name, kind, form = stored.column.name, stored.column.kind, stored.column.form
    if kind == "number" or pa.types.is_integer(stored.kind):
        return cast(parse_numbers(column, name, reject), stored.kind, where, name)
    if kind in ("written number", "date") and form is not None:
        words = cells.trimmed(column)
        read = cells.written_numbers(words, form) if kind == "written number" else cells.dates(words, form)
        bad = pc.and_(read.is_null(), words.is_valid())
        reject(bad.to_numpy(zero_copy_only=False), f"not a {kind}", f"column {name}", words)
    return as_carried(column, stored.kind, where, name)
