"""Delta Lake: tables of many engines. The rows are copied: its library opens no file outside the table's folder."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tasks.core.errors import BadConfig, cause_of, require_package
from tasks.ingestion.readers.table_snapshots import storage_options
from tasks.versions.signed_types import signed, widened
from tasks.versions.table_formats import Published, Receipt, Snapshot, TableFormat


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
        tables = zip(version.names, after, (version.stream, version.decisions), strict=True)
        snapshots = tuple(self._write(version, self.address(name), schema, rows) for name, schema, rows in tables)
        return Receipt(self.place, snapshots, refers=False, notes=widened(before[0], after[0]))

    def _write(self, version: Published, address: str, schema: pa.Schema, rows: Any) -> Snapshot:
        from deltalake import CommitProperties, DeltaTable, write_deltalake
        from deltalake.exceptions import DeltaError

        storage = storage_options(address)
        try:
            history = DeltaTable(address, storage_options=storage).history() if _is_there(address, storage) else []
            there = next((entry["version"] for entry in history if version.check(address, entry)), None)
            if there is not None:
                return Snapshot(address, str(there), is_new=False)
            write_deltalake(
                address,
                _cast(rows(), schema),
                mode="overwrite",
                schema_mode="overwrite" if history else None,
                storage_options=storage,
                commit_properties=CommitProperties(custom_metadata=version.properties),
            )
        except (DeltaError, OSError) as error:
            raise BadConfig(
                where=f"option at {address}",
                expected="a place where a Delta table can be written",
                got=cause_of(error),
                do="Check --at, and of a bucket endpoint, region and credentials in the environment.",
            ) from error
        return Snapshot(address, str(DeltaTable(address, storage_options=storage).version()), is_new=True)


def _is_there(address: str, storage: dict[str, str] | None) -> bool:
    from deltalake import DeltaTable

    return DeltaTable.is_deltatable(address, storage_options=storage)


def _cast(rows: pa.RecordBatchReader, schema: pa.Schema) -> pa.RecordBatchReader:
    return pa.RecordBatchReader.from_batches(schema, (batch.cast(schema) for batch in rows))
