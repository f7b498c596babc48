"""Delta Lake: tables of many engines. The rows are copied: its library opens no file outside the table's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from tasks.core.errors import BadConfig, cause_of, require_package
from tasks.ingestion.readers.table_snapshots import storage_options
from tasks.versions.signed_types import signed, widened
from tasks.versions.table_formats import Published, Receipt, Snapshot, TableFormat

# Commits that leave the rows as they are.
_UPKEEP = ("OPTIMIZE", "VACUUM START", "VACUUM END", "FSCK")


class Delta(TableFormat, kind="delta"):
    """Folders ``<at>/<dataset>`` and ``<at>/<dataset>_decisions``."""

    def publish(self, version: Published) -> Receipt:
        """Write both tables.

        Delta has no unsigned integers, and its library makes null of a byte above 127: they are cast before.
        """
        with require_package("deltalake", "option to delta", "pip install -e '.[delta]'"):
            import deltalake  # noqa: F401
        before = version.schemas()
        after = [signed(schema, "option to delta") for schema in before]
        addresses = [self.address(name) for name in version.names]
        with _refusals(self.place):
            # Both are looked at before either is written.
            commits = [_commits(version, address) for address in addresses]
            tables = zip(addresses, commits, after, (version.stream, version.decisions), strict=True)
            snapshots = tuple(_write(version, *table) for table in tables)
        return Receipt(self.place, snapshots, refers=False, notes=widened(before[0], after[0]))


@contextmanager
def _refusals(place: str) -> Iterator[None]:
    """What the library says, in our own words."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except (DeltaError, OSError) as error:
        raise BadConfig(
            where=f"option at {place}",
            expected="a place where a Delta table can be written",
            got=cause_of(error),
            do="Check --at, and of a bucket endpoint, region and credentials in the environment.",
        ) from error


def _commits(version: Published, address: str) -> list[dict[str, Any]]:
    """The commits of a table, newest first; none where there is no table yet."""
    from deltalake import DeltaTable

    storage = storage_options(address)
    if not DeltaTable.is_deltatable(address, storage_options=storage):
        return []
    commits = DeltaTable(address, storage_options=storage).history()
    changes = (commit for commit in commits if commit.get("operation") not in _UPKEEP)
    version.check_last(address, next(changes, {}))
    return commits


def _write(version: Published, address: str, commits: list[dict[str, Any]], schema: pa.Schema, rows: Any) -> Snapshot:
    from deltalake import CommitProperties, DeltaTable, write_deltalake

    there = next((commit["version"] for commit in commits if version.check(address, commit)), None)
    if there is not None:
        return Snapshot(address, str(there), is_new=False)
    write_deltalake(
        address,
        _cast(rows(), schema),
        mode="overwrite",
        schema_mode="overwrite" if commits else None,
        storage_options=storage_options(address),
        commit_properties=CommitProperties(custom_metadata=version.properties),
    )
    table = DeltaTable(address, storage_options=storage_options(address))
    return Snapshot(address, str(table.version()), is_new=True)


def _cast(rows: pa.RecordBatchReader, schema: pa.Schema) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in rows))
