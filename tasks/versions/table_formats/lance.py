"""Lance: tables for training, with versions and tags. The rows are copied."""

# pyright: reportAttributeAccessIssue=false
# Its library is not in the environment that types are checked in, and this file is called like it.

from __future__ import annotations

from typing import Any

import pyarrow as pa

from tasks.core.errors import BadConfig, cause_of, require_package
from tasks.ingestion.readers.table_snapshots import storage_options
from tasks.versions.table_formats import VERSION, Published, Receipt, Snapshot, TableFormat

# Transactions that leave the rows as they are.
_UPKEEP = ("Rewrite", "CreateIndex")


class Lance(TableFormat, kind="lance"):
    """Folders ``<at>/<dataset>.lance`` and ``<at>/<dataset>_decisions.lance``."""

    def publish(self, version: Published) -> Receipt:
        """Write both tables, and tag them as the versions are tagged."""
        with require_package("lance", "option to lance", "pip install -e '.[lance]'"):
            import lance  # noqa: F401
        addresses = [self.address(f"{name}.lance") for name in version.names]
        try:
            # Both are looked at before either is written.
            there = [_snapshots(version, address) for address in addresses]
            tables = zip(addresses, there, (version.stream, version.decisions), strict=True)
            snapshots = tuple(_write(version, *table) for table in tables)
        except OSError as error:
            raise BadConfig(
                where=f"option at {self.place}",
                expected="a place where a Lance dataset can be written",
                got=cause_of(error),
                do="Check --at, and of a bucket endpoint, region and credentials in the environment.",
            ) from error
        return Receipt(self.place, snapshots, refers=False)


def _write(version: Published, address: str, there: dict[int, dict[str, str]], rows: Any) -> Snapshot:
    import lance

    snapshots = dict(there)
    number = next((number for number, facts in snapshots.items() if version.check(address, facts)), None)
    is_new = number is None
    if is_new:
        table: pa.RecordBatchReader = rows()
        # The first write makes the table, every other one is the next snapshot.
        mode = "overwrite" if snapshots else "create"
        written = lance.write_dataset(
            table,
            address,
            mode=mode,
            transaction_properties=version.properties,
            storage_options=storage_options(address),
        )
        number = written.version
        snapshots[number] = version.properties
    _tag(
        lance.dataset(address, storage_options=storage_options(address)),
        version,
        {facts[VERSION]: n for n, facts in snapshots.items() if VERSION in facts},
    )
    return Snapshot(address, str(number), is_new)


def _snapshots(version: Published, address: str) -> dict[int, dict[str, str]]:
    """Number → properties of every snapshot, those of others without any; empty where there is no table yet."""
    import lance

    try:
        table = lance.dataset(address, storage_options=storage_options(address))
    except (ValueError, FileNotFoundError):
        return {}
    transactions = {entry["version"]: table.read_transaction(entry["version"]) for entry in table.versions()}
    facts = {number: (made.transaction_properties if made else None) or {} for number, made in transactions.items()}
    upkeep = {number for number, made in transactions.items() if made and type(made.operation).__name__ in _UPKEEP}
    version.check_last(address, facts[max(facts.keys() - upkeep)] if facts.keys() - upkeep else {})
    return facts


def _tag(table: Any, version: Published, numbers: dict[str, int]) -> None:
    """Each published version's own name, and every tag that points at one."""
    wanted = {name: name for name in numbers} | version.tags
    there = table.tags.list()
    for tag, name in wanted.items():
        number = numbers.get(name)
        if number is None or there.get(tag, {}).get("version") == number:
            continue
        (table.tags.update if tag in there else table.tags.create)(tag, number)
