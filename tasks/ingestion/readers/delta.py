"""Delta Lake tables, by deltalake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.errors import require_package
from tasks.ingestion.readers.arrow_batches import of_parquet
from tasks.ingestion.readers.table_snapshots import SnapshotRows, TableSnapshots, address, moment_of, storage_options

_VERSION = "gradsieve.version"


class Delta(TableSnapshots, kind="delta"):
    """One version of a Delta table, by its number, a time, or the name of a version that was published there."""

    def snapshot(self, path: Path) -> SnapshotRows:
        """By the table's log."""
        with require_package("deltalake", "reader delta", "pip install -e '.[delta]'"):
            from deltalake import DeltaTable
        where = address(path)
        table = DeltaTable(where, storage_options=storage_options(where))
        if self.revision is not None:
            table.load_as_version(_version(table, self.revision))
        rows = table.to_pyarrow_dataset()
        return SnapshotRows(f"{table.metadata().id} {table.version()}", rows.schema, _batches(where, rows))

    @contextmanager
    def refusals(self, path: Path) -> Iterator[None]:
        """Its own errors are no others."""
        with require_package("deltalake", "reader delta", "pip install -e '.[delta]'"):
            from deltalake.exceptions import DeltaError
        with super().refusals(path):
            try:
                yield
            except DeltaError as error:
                raise ValueError(str(error)) from error


def _batches(where: str, rows: Any) -> Iterator[pa.RecordBatch]:
    """The rows of a data set of Parquet files; its own scanner would decode a row group whole before it parts it."""
    import pyarrow.dataset as ds

    # Of each column. Elsewhere every piece is a question of its own.
    piece = 1 << (20 if "://" in where else 16)
    for part in rows.get_fragments():
        partition = ds.get_partition_keys(part.partition_expression)
        with pq.ParquetFile(part.open(), buffer_size=piece, pre_buffer=False) as file:
            for batch in of_parquet(where, file):
                yield _with_all(batch, rows.schema, partition)


def _with_all(batch: pa.RecordBatch, schema: pa.Schema, partition: dict[str, Any]) -> pa.RecordBatch:
    """With the columns that a file leaves out: those it is filed under, and later ones, which are null."""
    here = set(batch.schema.names)
    columns = [
        batch.column(field.name).cast(field.type)
        if field.name in here
        else pa.repeat(pa.scalar(partition.get(field.name), field.type), batch.num_rows)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _version(table: Any, revision: str) -> Any:
    """What the library takes for a version."""
    if revision.isdigit():
        return int(revision)
    published = [entry["version"] for entry in table.history() if entry.get(_VERSION) == revision]
    return published[0] if published else moment_of(revision) or revision
