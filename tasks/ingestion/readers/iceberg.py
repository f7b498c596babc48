"""Apache Iceberg tables, by pyiceberg."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from tasks.core.errors import BadInput, require_package
from tasks.ingestion.readers.table_snapshots import SnapshotRows, TableSnapshots, address, moment_of

_CONFIGURED = "catalog:"


class Iceberg(TableSnapshots, kind="iceberg"):
    """One snapshot of an Iceberg table, by its id, a tag, a branch, or a time."""

    path: Path = Field(
        description="Of iceberg: the folder of a table, or of a catalogue in catalog.db, the address of a REST "
        "catalogue, or catalog:NAME of one in .pyiceberg.yaml."
    )
    name: str | None = Field(default=None, description="Table of an Iceberg catalogue, namespace.table.")

    def snapshot(self, path: Path) -> SnapshotRows:
        """By the table's metadata."""
        with require_package("pyiceberg", "reader iceberg", "pip install -e '.[iceberg]'"):
            from pyiceberg.io.pyarrow import schema_to_pyarrow
        table = self._table(path)
        snapshot = _snapshot(table, self.revision)
        scan = table.scan(snapshot_id=snapshot)
        schema = schema_to_pyarrow(scan.projection())
        return SnapshotRows(f"{table.metadata.table_uuid} {snapshot}", schema, _batches(scan, schema))

    def _table(self, path: Path) -> Any:
        from pyiceberg.catalog import load_catalog
        from pyiceberg.table import StaticTable

        place = str(path) if str(path).startswith(_CONFIGURED) else address(path)
        store = {"s3.endpoint": os.environ.get("AWS_ENDPOINT_URL"), "s3.region": os.environ.get("AWS_REGION")}
        options = {name: value for name, value in store.items() if value}
        if self.name is None:
            return StaticTable.from_metadata(_metadata(place), options)
        if place.startswith(_CONFIGURED):
            return load_catalog(place.removeprefix(_CONFIGURED), **options).load_table(self.name)
        if place.startswith(("http://", "https://")):
            return load_catalog("rest", type="rest", uri=place, **options).load_table(self.name)
        if not (Path(place) / "catalog.db").is_file():
            raise FileNotFoundError(f"{place} holds no catalog.db")
        uri = f"sqlite:///{place}/catalog.db"
        return load_catalog("gradsieve", type="sql", uri=uri, warehouse=f"file://{place}", **options).load_table(
            self.name
        )


def _batches(scan: Any, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The rows of a scan, one data file at a time, for the library decodes a file whole, with what is deleted of it.

    Asked for all files at once, it decodes those behind while the first is read, and holds the whole table in the end.
    """
    from pyiceberg.io.pyarrow import ArrowScan

    files = ArrowScan(scan.table_metadata, scan.io, scan.projection(), scan.row_filter, scan.case_sensitive)
    for file in scan.plan_files():
        for batch in files.to_record_batches([file]):
            yield batch.cast(schema)


def _metadata(place: str) -> str:
    """The newest metadata file of a table's folder."""
    if place.endswith(".metadata.json") or "://" in place:
        return place
    files = sorted((Path(place) / "metadata").glob("*.metadata.json"), key=lambda file: _number(file.name))
    if not files:
        raise BadInput(
            where=place,
            expected="the folder of an Iceberg table, with metadata/*.metadata.json",
            got="none",
            do="Of a catalogue, name the table with --reader.name namespace.table.",
        )
    return str(files[-1])


def _number(name: str) -> int:
    match = re.match(r"v?(\d+)", name)
    return int(match[1]) if match else -1


def _snapshot(table: Any, revision: str | None) -> int | None:
    """The id of what is meant; None of a table without any."""
    if revision is None:
        current = table.current_snapshot()
        return None if current is None else current.snapshot_id
    moment = moment_of(revision)
    if moment is not None:
        found = table.snapshot_as_of_timestamp(int(moment.timestamp() * 1000))
    elif revision.isdigit():
        found = table.snapshot_by_id(int(revision))
    else:
        found = table.snapshot_by_name(revision)
    if found is None:
        names = ", ".join(sorted(table.refs()))
        raise ValueError(f"there is no snapshot {revision}; its tags and branches: {names}")
    return found.snapshot_id
