"""Lance datasets, by pylance."""

# pyright: reportAttributeAccessIssue=false
# Its library is not in the environment that types are checked in, and this file is called like it.

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from tasks.core.errors import require_package
from tasks.ingestion.readers import CHUNK_BYTES, CHUNK_ROWS
from tasks.ingestion.readers.table_snapshots import SnapshotRows, TableSnapshots, address, moment_of, storage_options


class Lance(TableSnapshots, kind="lance"):
    """One version of a Lance dataset, by its number, a tag, or a time."""

    suffixes: ClassVar[tuple[str, ...]] = (".lance",)

    def snapshot(self, path: Path) -> SnapshotRows:
        """By the dataset's manifest."""
        with require_package("lance", "reader lance", "pip install -e '.[lance]'"):
            import lance
        where = address(path)
        table: Any = lance.dataset(where, storage_options=storage_options(where), **_version(self.revision))
        # Numbers begin anew in a table that was made anew; when it was made tells them apart.
        made = table.versions()[0]["timestamp"].isoformat()
        # The limit that is reached first holds. Batches that are decoded beside this one are held besides.
        batches = table.to_batches(
            batch_size=CHUNK_ROWS, batch_size_bytes=CHUNK_BYTES, batch_readahead=1, fragment_readahead=1
        )
        return SnapshotRows(f"{made} {table.version}", table.schema, batches)


def _version(revision: str | None) -> dict[str, Any]:
    """What the library takes for a version."""
    if revision is None:
        return {}
    moment = moment_of(revision)
    return {"version": int(revision) if revision.isdigit() else revision} if moment is None else {"asof": moment}
