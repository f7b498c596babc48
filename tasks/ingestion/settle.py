"""The first pass over a table: spooled as it came, and what its columns are for is settled on all of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.core.errors import BadInput
from tasks.dataset.payload import Payload
from tasks.ingestion.column_statistics import statistics_of
from tasks.ingestion.profile import Profile
from tasks.ingestion.raw_spool import RawSpool
from tasks.ingestion.readers import Chunk
from tasks.ingestion.roles import Column, check_inputs, role_of
from tasks.ingestion.settled_rows import StoredColumn, settled_chunk, stored_column
from tasks.ingestion.table_options import TableOptions
from tasks.ingestion.table_rows import lacks_columns


@dataclass(frozen=True)
class Settled:
    """What the first pass has settled."""

    payload: Payload
    """What a network receives; of a table without the encoders, which are fitted on the training rows."""
    chunks: Iterable[Chunk]
    """The rows as samples keep them."""
    stored: list[StoredColumn] = field(default_factory=list)
    """The columns of a table."""


def settle(inputs: Payload | TableOptions, chunks: Iterable[Chunk], folder: Path) -> Settled:
    """What a network receives, and the rows as samples keep them.

    Args:
        inputs: what a reader knows of them.
        chunks: the rows as they came.
        folder: for the spool of a table.

    Raises:
        BadInput: there is no row, nothing to learn from, or a file lacks an input.
    """
    if isinstance(inputs, Payload):
        return Settled(inputs, chunks)
    spool, profiles = RawSpool(folder), {}

    def look(chunk: Chunk) -> None:
        for name, column in chunk.payload.items():
            profiles.setdefault(name, Profile(inputs.missing)).add(column)

    spool.write(chunks, look)
    columns = columns_of(spool, profiles, inputs)
    stored = [
        stored_column(column, spool.types[column.name], profiles[column.name].length, inputs) for column in columns
    ]
    used = [one for one in stored if one.column.is_input]
    if inputs.features:
        used.sort(key=lambda one: inputs.features.index(one.column.name))
    others = [one for one in stored if not one.column.is_input]
    columns_in_order = [*used, *others]
    return Settled(_payload(used, spool, inputs), _settled(spool, columns_in_order, inputs), columns_in_order)


def columns_of(spool: RawSpool, profiles: dict[str, Profile], options: TableOptions) -> list[Column]:
    """Every column without an option of its own, with its role."""
    statistics = statistics_of(spool, profiles, options.missing)
    columns = [role_of(name, types, profiles[name], statistics[name], options) for name, types in spool.types.items()]
    check_inputs(columns, spool.types, options)
    for column in columns:
        if column.is_input and (lacking := spool.sources_without(column.name)):
            raise lacks_columns(lacking[0], [column.name], [name for name in spool.types if name != column.name])
    return columns


def _settled(spool: RawSpool, stored: list[StoredColumn], options: TableOptions) -> Iterator[Chunk]:
    unused = {
        _shown(one.column.name, options): one.column.why for one in stored if not one.column.is_input
    } | spool.unused
    for chunk in spool:
        yield replace(settled_chunk(chunk, stored, options), unused=unused)
    spool.remove()


def _shown(name: str, options: TableOptions) -> str:
    """What the source calls a column."""
    return next((theirs for theirs, ours in options.own_names.items() if ours == name), name)


def _payload(used: list[StoredColumn], spool: RawSpool, options: TableOptions) -> Payload:
    """Of numbers; encoders are fitted later, on the training rows."""
    names = tuple(one.column.name for one in used)
    width = sum(one.length for one in used)
    plain = all(one.is_plain for one in used)
    shape = tuple(options.shape or (width,))
    if plain and int(np.prod(shape)) != width:
        raise BadInput(
            where=f"{options.where}, option shape",
            expected=f"a shape of {width:,} values, as many as the features have",
            got=" × ".join(map(str, shape)),
            do="Give channels, height and width whose product is the number of features.",
        )
    kinds = {_element(spool.types[name][0]) for name in names}
    dtype = "uint8" if kinds == {pa.uint8()} else "int8" if kinds == {pa.int8()} else "float32"
    return Payload(kind="array", columns=names, shape=shape, dtype=dtype)


def _element(kind: pa.DataType) -> pa.DataType:
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return kind.value_type if is_list else kind
