"""Delta Lake: tables of many engines. The rows are copied: its library opens no file outside the table's folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from tasks.core.errors import BadConfig, BadInput, cause_of, require_package
from tasks.ingestion.readers.table_snapshots import storage_options
from tasks.versions.signed_types import signed, widened
from tasks.versions.table_formats import Published, Receipt, Snapshot, TableFormat

# Commits that leave the rows as they are.
_UPKEEP = ("OPTIMIZE", "VACUUM START", "VACUUM END", "FSCK")


class Delta(TableFormat, kind="delta"):
    """Folders ``<at>/<dataset>`` and ``<at>/<dataset>_decisions``."""

    def publish(self, version: Published) -> Receipt:
        """Write both tables.

        Delta has no unsigned integers, and its library makes null of a byte above 127: they are cast before. So is all
        that its library would write as another type without a word.
        """
        with require_package("deltalake", "option to delta", "pip install -e '.[delta]'"):
            import deltalake  # noqa: F401
        before = version.schemas()
        after = [signed(schema, "option to delta", _plain) for schema in before]
        addresses = [self.address(name) for name in version.names]
        with _refusals(self.place):
            # Both are looked at before either is written.
            commits = [_commits(version, address) for address in addresses]
            tables = zip(addresses, commits, after, (version.stream, version.decisions), strict=True)
            snapshots = tuple(_write(version, *table) for table in tables)
        return Receipt(self.place, snapshots, refers=False, notes=widened(before[0], after[0]))


def _plain(kind: pa.DataType) -> pa.DataType | None:
    """What Delta has for a type without others inside; None: nothing. Its moments are of microseconds, and of UTC."""
    types = pa.types
    if types.is_time(kind) or types.is_duration(kind) or types.is_interval(kind) or types.is_decimal256(kind):
        return None
    if types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if types.is_date64(kind):
        return pa.date32()
    return pa.binary() if types.is_fixed_size_binary(kind) else kind


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
    from deltalake.exceptions import DeltaError

    there = next((commit["version"] for commit in commits if version.check(address, commit)), None)
    if there is not None:
        return Snapshot(address, str(there), is_new=False)
    lost: list[BadInput] = []
    try:
        write_deltalake(
            address,
            _cast(rows(), schema, lost),
            mode="overwrite",
            schema_mode="overwrite" if commits else None,
            storage_options=storage_options(address),
            commit_properties=CommitProperties(custom_metadata=version.properties),
        )
    except DeltaError:
        # The library passes on no error of what it reads from.
        if lost:
            raise lost[0] from lost[0].__cause__
        raise
    table = DeltaTable(address, storage_options=storage_options(address))
    return Snapshot(address, str(table.version()), is_new=True)


def _cast(rows: pa.RecordBatchReader, schema: pa.Schema, lost: list[BadInput]) -> pa.RecordBatchReader:
    """The rows as the schema wants them; what it cannot hold is put down in ``lost``."""

    def batches() -> Iterator[pa.RecordBatch]:
        try:
            yield from (batch.cast(schema) for batch in rows)
        except pa.ArrowInvalid as error:
            # A moment between two microseconds.
            refusal = BadInput(
                where="option to delta",
                expected="values that Delta can hold",
                got=cause_of(error),
                do="Round the column in the source, or publish --to lance.",
            )
            refusal.__cause__ = error
            lost.append(refusal)
            raise

    return pa.RecordBatchReader.from_batches(schema, batches())
