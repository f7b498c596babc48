"""Delta Lake tables, by deltalake."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.core.errors import require_package
from tasks.ingestion.readers import CHUNK_ROWS
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
        return SnapshotRows(
            f"{table.metadata().id} {table.version()}", rows.schema, rows.to_batches(batch_size=CHUNK_ROWS)
        )

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


def _version(table: Any, revision: str) -> Any:
    """What the library takes for a version."""
    if revision.isdigit():
        return int(revision)
    published = [entry["version"] for entry in table.history() if entry.get(_VERSION) == revision]
    return published[0] if published else moment_of(revision) or revision
