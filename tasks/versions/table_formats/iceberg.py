"""Apache Iceberg: the catalogue's tables name the version's own Parquet files, nothing is copied."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from tasks.core.errors import BadConfig, BadInput, cause_of, require_package
from tasks.versions.contents import DecisionFilter, write_plain
from tasks.versions.signed_types import holds, signed, widened
from tasks.versions.table_formats import HISTORY, VERSION, Published, Receipt, Snapshot, TableFormat

_NAMESPACE = "gradsieve"
_CONFIGURED = "catalog:"
# Files that are written for a table, where a version has none of its own.
_ROWS = 4096
# Snapshots that leave the rows as they are: compactions.
_UPKEEP = "replace"


class Iceberg(TableFormat, kind="iceberg"):
    """Tables ``gradsieve.<dataset>`` and ``gradsieve.<dataset>_decisions`` of a catalogue."""

    at: str = Field(
        description="A folder (its catalogue is catalog.db, SQLite), the address of a REST catalogue, or catalog:NAME "
        "of one in .pyiceberg.yaml."
    )

    def publish(self, version: Published) -> Receipt:
        """Make both snapshots, and tag them as the versions are tagged."""
        with require_package("pyiceberg", "option to iceberg", "pip install -e '.[iceberg]'"):
            import pyiceberg.catalog  # noqa: F401
        rows, decisions = version.names
        schema, decided = version.schemas()
        with _refusals(self.place):
            catalog = self._catalog()
            catalog.create_namespace_if_not_exists(_NAMESPACE)
            files = _Files(version, signed(schema, "option to iceberg") if _loses(schema) else schema)
            # Both are looked at before either is written, and nothing names a file that may be cleared away.
            _check_owner(catalog, version)
            version.hold()
            results = [
                _snapshot(catalog, rows, version, files.schema, files.of_rows),
                _snapshot(catalog, decisions, version, decided, files.of_decisions),
            ]
        return Receipt(self.place, tuple(results), refers=True, notes=widened(schema, files.schema))

    @property
    def place(self) -> str:
        """A name in the library's own configuration is none of a folder."""
        return self.at if self.at.startswith(_CONFIGURED) else super().place

    def _catalog(self) -> Any:
        from pyiceberg.catalog import load_catalog

        store = {"s3.endpoint": os.environ.get("AWS_ENDPOINT_URL"), "s3.region": os.environ.get("AWS_REGION")}
        options = {name: value for name, value in store.items() if value}
        if self.at.startswith(_CONFIGURED):
            return load_catalog(self.at.removeprefix(_CONFIGURED), **options)
        if self.at.startswith(("http://", "https://")):
            return load_catalog("rest", type="rest", uri=self.at, **options)
        if "://" in self.at:
            raise BadConfig(
                where=f"option at {self.at}",
                expected="a folder, http://…, or catalog:NAME",
                got="another URL",
                do="Iceberg's tables are in a catalogue: name the folder or the address of one.",
            )
        Path(self.place).mkdir(parents=True, exist_ok=True)
        return load_catalog(
            "gradsieve",
            type="sql",
            uri=f"sqlite:///{self.place}/catalog.db",
            warehouse=f"file://{self.place}",
            **options,
        )


def _loses(schema: pa.Schema) -> bool:
    """Whether Iceberg's own reading of a file would lose values: it takes unsigned integers of 32 bits for signed."""
    lossy = (pa.uint32(), pa.uint64(), pa.float16())
    return any(holds(field.type, kind) for field in schema for kind in lossy)


class _Files:
    """The Parquet files of a version: its own ones, or written beside the table where it has none that serve.

    Args:
        version: to be published.
        schema: of the table.
    """

    def __init__(self, version: Published, schema: pa.Schema) -> None:
        self.version, self.schema = version, schema
        self.is_cast = schema != version.rows.schema()

    def of_rows(self, table: Any) -> list[str]:
        """Addresses of the files of rows."""
        files = self.version.files()
        if files is not None and not self.is_cast:
            return [self._address(file.name) for file in files]
        decisions = DecisionFilter(self.version.rows.decisions)
        return [address for part in self.version.rows.content.parts if (address := self._write(table, part, decisions))]

    def of_decisions(self, _table: Any) -> list[str]:
        """Address of the file of decisions, if there are any."""
        content = self.version.rows.content
        return [self._address(content.decided)] if content.decisions.rows else []

    def _address(self, name: str) -> str:
        objects = self.version.rows.history.objects
        path = f"{objects.where.rstrip('/')}/{self.version.manifest.dataset}/{name}"
        return f"file://{path}" if objects.local else path

    def _write(self, table: Any, part: Any, decisions: DecisionFilter) -> str | None:
        rows = self.version.rows
        source, written = rows.file(part.path), rows.scratch / f"written-{part.sha256}.parquet"
        count = write_plain(source, decisions, written)
        if count is None and not self.is_cast:
            return self._address(part.path)
        if count == 0:
            return None
        if self.is_cast:
            written = _cast(
                source if count is None else written, self.schema, rows.scratch / f"cast-{part.sha256}.parquet"
            )
        address = f"{table.location()}/data/{rows.content.id}-{part.name}"
        with table.io.new_output(address).create(overwrite=True) as sink:
            sink.write(written.read_bytes())
        return address


def _cast(source: Path, schema: pa.Schema, target: Path) -> Path:
    with pq.ParquetFile(source) as file, pq.ParquetWriter(target, schema, compression="zstd") as sink:
        for batch in file.iter_batches(batch_size=_ROWS):
            sink.write_batch(batch.cast(schema))
    return target


@contextmanager
def _refusals(place: str) -> Iterator[None]:
    """What the library says, in our own words."""
    from pyiceberg.exceptions import CommitFailedException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except CommitFailedException as error:
        raise BadConfig(
            where=f"option at {place}",
            expected="nobody else who writes this table now",
            got=cause_of(error),
            do="Publish again.",
        ) from error
    except (SQLAlchemyError, OSError) as error:
        raise BadConfig(
            where=f"option at {place}",
            expected="a catalogue of Iceberg that answers",
            got=cause_of(error),
            do="Check --at, and of a bucket endpoint, region and credentials in the environment.",
        ) from error


def _identifier(name: str) -> tuple[str, str]:
    # A point parts names in most engines.
    return _NAMESPACE, name.replace(".", "_")


def _check_owner(catalog: Any, version: Published) -> None:
    """Refuse tables that are there and of somebody else; one without a snapshot says whose it is by itself."""
    for identifier in map(_identifier, version.names):
        if catalog.table_exists(identifier):
            table = catalog.load_table(identifier)
            changes = [s for s in table.snapshots() if not s.summary or s.summary.operation.value != _UPKEEP]
            last = max(changes, key=lambda snapshot: snapshot.sequence_number or 0, default=None)
            version.check_last(".".join(identifier), table.properties if last is None else _properties(last))


def _snapshot(catalog: Any, name: str, version: Published, schema: pa.Schema, files_of: Any) -> Snapshot:
    """The version's snapshot of one table, made unless it is there."""
    identifier = _identifier(name)
    whose = {name: version.properties[name] for name in ("gradsieve.dataset", HISTORY)}
    try:
        table = catalog.create_table_if_not_exists(identifier, schema=schema, properties=whose)
        shown = ".".join(identifier)
        there = next((s for s in table.snapshots() if version.check(shown, _properties(s))), None)
        if there is None:
            _commit(table, version, schema, files_of(table))
    except (ValueError, TypeError, NotImplementedError) as error:
        raise BadInput(
            where=f"table {'.'.join(identifier)}",
            expected="columns that Iceberg has, of types that go with those of the version before",
            got=cause_of(error),
            do="Publish to another place with --at, or --to lance.",
        ) from error
    _tag(table, version)
    current = there or table.current_snapshot()
    return Snapshot(shown, str(current.snapshot_id), there is None)


def _properties(snapshot: Any) -> dict[str, str]:
    return dict(snapshot.summary.additional_properties) if snapshot.summary else {}


def _commit(table: Any, version: Published, schema: pa.Schema, addresses: list[str]) -> None:
    """One snapshot: files that are no longer of the version go, those that it shares with the one before stay."""
    from pyiceberg.io.pyarrow import parquet_file_to_data_file
    from pyiceberg.table import TableProperties

    there = {task.file.file_path: task.file for task in table.scan().plan_files()}
    with table.transaction() as transaction:
        if table.name_mapping() is None:
            mapping = table.schema().name_mapping.model_dump_json()
            transaction.set_properties(**{TableProperties.DEFAULT_NAME_MAPPING: mapping})
        with transaction.update_schema() as update:
            update.union_by_name(schema)
        with transaction.update_snapshot(snapshot_properties=version.properties).overwrite() as snapshot:
            for address in there.keys() - set(addresses):
                snapshot.delete_data_file(there[address])
            for address in addresses:
                if address not in there:
                    metadata = transaction.table_metadata
                    snapshot.append_data_file(parquet_file_to_data_file(table.io, metadata, address))


def _tag(table: Any, version: Published) -> None:
    """Each published version's own name, and every tag that points at one."""
    table.refresh()
    ids = {_properties(s).get(VERSION): s.snapshot_id for s in table.snapshots()}
    wanted = {name: name for name in ids if name} | version.tags
    there = {name: ref.snapshot_id for name, ref in table.refs().items()}
    changes = {tag: ids[name] for tag, name in wanted.items() if name in ids and there.get(tag) != ids[name]}
    if changes:
        with table.manage_snapshots() as snapshots:
            for tag, snapshot in changes.items():
                snapshots.create_tag(snapshot, tag)
