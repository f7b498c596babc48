"""From a table as it came to one whose rows can be hashed: the first pass, and what follows from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from tasks.core.errors import BadInput
from tasks.dataset.payload import Payload
from tasks.ingestion.readers import Chunk
from tasks.ingestion.tables.columns import element_type
from tasks.ingestion.tables.first_pass import FirstPass, first_pass
from tasks.ingestion.tables.raw_spool import RawSpool
from tasks.ingestion.tables.roles import Column
from tasks.ingestion.tables.settled_rows import StoredColumn, settled_chunk, stored_column
from tasks.ingestion.tables.table_options import TableOptions


@dataclass(frozen=True)
class Settled:
    """What the first pass has settled."""

    payload: Payload
    """What a network receives; of a table without the encoders, which are fitted on the training rows."""
    chunks: Iterable[Chunk]
    """The rows as samples keep them."""
    stored: list[StoredColumn] = field(default_factory=list)
    """The columns of a table, the inputs first."""
    columns: list[Column] = field(default_factory=list)
    """All columns of its source, the label first."""
    stored_names: dict[str, str] = field(default_factory=dict)
    """Column of the source → what samples call it."""


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
    table = first_pass(inputs, chunks, folder)
    table.check(inputs)
    stored = [
        stored_column(column, table.spool.types[column.name], table.profiles[column.name], inputs)
        for column in table.columns
    ]
    used = [one for one in stored if one.column.is_input]
    if inputs.features:
        used.sort(key=lambda one: inputs.features.index(one.column.name))
    in_order = [*used, *(one for one in stored if not one.column.is_input)]
    payload = _payload(used, table.spool, inputs)
    names = {column.name: column.name for column in table.columns} | inputs.own_names
    return Settled(payload, _settled(table.spool, in_order, inputs), in_order, columns_as_told(table, inputs), names)


def _settled(spool: RawSpool, stored: list[StoredColumn], options: TableOptions) -> Iterator[Chunk]:
    for chunk in spool:
        yield settled_chunk(chunk, stored, options)
    spool.remove()


def columns_as_told(table: FirstPass, options: TableOptions) -> list[Column]:
    """Every column by the name that the source gives it, with those that no sample has."""
    theirs = {ours: name for name, ours in options.own_names.items()}
    columns = [replace(column, name=theirs.get(column.name, column.name)) for column in table.every_column]
    late = [Column(name, "carried", "other", None, None, why) for name, why in table.spool.unused.items()]
    return [*columns, *late]


def _payload(used: list[StoredColumn], spool: RawSpool, options: TableOptions) -> Payload:
    """Of numbers; encoders are fitted later, on the training rows."""
    names = tuple(one.column.name for one in used)
    width = sum(one.length for one in used)
    plain = all(one.is_plain for one in used)
    shape = tuple(options.shape or (width,))
    if plain and int(np.prod(shape)) != width:
        raise BadInput(
            where=f"{options.where}, option --reader.shape",
            expected=f"a shape of {width:,} values, as many as the features have",
            got=" × ".join(map(str, shape)),
            do="Give channels, height and width whose product is the number of features.",
        )
    kinds = {element_type(spool.types[name][0]) for name in names}
    dtype = "uint8" if kinds == {pa.uint8()} else "int8" if kinds == {pa.int8()} else "float32"
    return Payload(kind="array", columns=names, shape=shape, dtype=dtype)
