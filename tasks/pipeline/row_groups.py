"""Parquet files written piece by piece: tables of a row a sample, which nobody holds whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GROUP_ROWS = 1 << 16
"""Rows of a row group: whoever wants the first of a table reads no more than these."""


def wide_rows(values: int) -> int:
    """Rows of a row group of which each has so many values: as many as a table has, or as 64 MiB hold."""
    return max(1, min(1 << 20, (1 << 24) // values))


def write_groups(
    path: Path, batches: Iterable[pa.RecordBatch], schema: pa.Schema, group_rows: int | None = None
) -> int:
    """Write batches, however large each is, in row groups of ``group_rows``, by default ``GROUP_ROWS``; how many rows.

    The file does not depend on how the rows are parted, and is that of one table where there are no more than these.
    """
    rows, group_rows = 0, group_rows or GROUP_ROWS
    with pq.ParquetWriter(path, schema, compression="zstd") as sink:
        for group in _groups(batches, group_rows):
            sink.write_table(group.cast(schema), group_rows)
            rows += group.num_rows
        if not rows:
            sink.write_table(schema.empty_table())
    return rows


def _groups(batches: Iterable[pa.RecordBatch], group_rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of ``group_rows``; the last one has the rest."""
    parts: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        while batch.num_rows:
            part = batch.slice(0, group_rows - count)
            parts.append(part)
            batch, count = batch.slice(part.num_rows), count + part.num_rows
            if count == group_rows:
                yield pa.Table.from_batches(parts).combine_chunks()
                parts, count = [], 0
    if parts:
        yield pa.Table.from_batches(parts).combine_chunks()


def first_rows(path: Path, rows: int, columns: list[str] | None = None) -> pa.Table:
    """The first rows of a file, of which no later row groups are read."""
    with pq.ParquetFile(path) as file:
        groups: list[int] = []
        while len(groups) < file.num_row_groups and sum(file.metadata.row_group(i).num_rows for i in groups) < rows:
            groups.append(len(groups))
        return file.read_row_groups(groups, columns).slice(0, rows)
