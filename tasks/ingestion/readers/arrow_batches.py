"""What every format that Arrow reads has in common: its batches, looked at before they are used, as rows of a table."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.errors import BadInput
from tasks.ingestion.files.hub_features import class_names_of, names_note, with_names
from tasks.ingestion.files.json_rows import is_json
from tasks.ingestion.readers import chunk_rows
from tasks.ingestion.tables.table_rows import Batch


def in_chunks(source: str, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> Iterator[Batch]:
    """Batches in their order, large ones sliced without a copy; one without rows where there are none.

    Args:
        source: what the rows are said to be of.
        schema: of all batches.
        batches: as they are read.

    Raises:
        BadInput: a column's type leaves no room for a value, or what it calls JSON is none.
        pyarrow.ArrowInvalid: one is damaged, or its text is not UTF-8.
    """
    _check_types(source, schema)
    first, names = 0, class_names_of(schema)
    notes = names_note(source, names)
    for batch in batches:
        # A damaged file's offsets and indices lead anywhere in memory; nothing reads them before they are looked at.
        batch.validate(full=True)
        _check_json(source, batch, first)
        size = chunk_rows(source, sum(map(_row_bytes, batch.columns)))
        for start in range(0, batch.num_rows, size):
            part = batch.slice(start, size)
            rows = np.arange(first, first + part.num_rows)
            yield Batch(source, with_names(part, names), rows, notes=notes)
            first += part.num_rows
    if first == 0:
        yield Batch(source, with_names(pa.RecordBatch.from_pylist([], schema=schema), names), np.zeros(0, np.int64))


def of_parquet(where: str, file: pq.ParquetFile) -> Iterator[pa.RecordBatch]:
    """A Parquet file's rows, as many at a time as make a chunk: each row group says what a row of it weighs."""
    for number in range(file.num_row_groups):
        group = file.metadata.row_group(number)
        rows = chunk_rows(where, group.total_byte_size / max(1, group.num_rows))
        yield from file.iter_batches(batch_size=rows, row_groups=[number])


def _row_bytes(column: pa.Array) -> float:
    """Bytes of one row on average. Of a dictionary, which all rows share, a row has one value."""
    if isinstance(column, pa.DictionaryArray):
        return _row_bytes(column.indices) + _row_bytes(column.dictionary)
    return column.nbytes / max(1, len(column))


def _check_json(source: str, batch: pa.RecordBatch, first: int) -> None:
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        if not isinstance(column.type, pa.JsonType):
            continue
        texts = column.storage.to_pylist()
        wrong = next((row for row, text in enumerate(texts) if text is not None and not is_json(text)), None)
        if wrong is not None:
            raise BadInput(
                where=f"{source}, column {name!r}, row {first + wrong:,}",
                expected="JSON, as the column's type says",
                got=repr(texts[wrong][:80]),
                do="Correct it there, or write the column as plain text.",
            )


def _check_types(source: str, schema: pa.Schema) -> None:
    empty = [field.name for field in schema if _holds_nothing(field.type)]
    if empty:
        raise BadInput(
            where=f"{source}, column {empty[0]!r}",
            expected="a type with room for a value",
            got=f"{schema.field(empty[0]).type}",
            do="Drop the column, or write it without a fixed length of 0.",
        )


def _holds_nothing(kind: pa.DataType) -> bool:
    """Whether a type has something of length 0 in it, or of no fields: Parquet does not give it back."""
    if pa.types.is_fixed_size_list(kind) and kind.list_size == 0:
        return True
    if (pa.types.is_fixed_size_binary(kind) and kind.byte_width == 0) or (
        pa.types.is_struct(kind) and not kind.num_fields
    ):
        return True
    if pa.types.is_dictionary(kind):
        return _holds_nothing(kind.value_type)
    return any(_holds_nothing(kind.field(i).type) for i in range(kind.num_fields))
