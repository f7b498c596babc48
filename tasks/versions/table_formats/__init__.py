"""Formats of tables that others keep: each takes a version as its next snapshot. To add one, add a file here.

A snapshot carries the version's properties, so that a format knows what it holds already: the same version again makes
no snapshot. DuckLake is left out: of the versions of DuckDB that this application runs on, none has its extension.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import Field

from tasks.core.errors import BadConfig
from tasks.core.plugins import Component, Registry
from tasks.versions.contents import Rows
from tasks.versions.manifest import Manifest

IDENTITY = "gradsieve.identity"
"""The property by which a version is known again."""
VERSION = "gradsieve.version"
HISTORY = "gradsieve.history"
"""The property by which a table is known to be of a dataset's history, whichever version it holds."""


def identity_of(manifest: Manifest) -> str:
    """Digest of what no two versions have in common, whichever history they are of."""
    said = (manifest.dataset, manifest.version, manifest.published, manifest.content, manifest.members)
    return sha256(" ".join(said).encode()).hexdigest()


class StoredFile(NamedTuple):
    """A Parquet file of a version, in the store."""

    name: str
    """Below the dataset."""
    rows: int


class Snapshot(NamedTuple):
    """What a format made of one table, or found there."""

    table: str
    name: str
    """What the format calls the snapshot."""
    is_new: bool


@dataclass(frozen=True)
class Receipt:
    """What came of a publication."""

    place: str
    snapshots: tuple[Snapshot, ...]
    refers: bool
    """Whether they name files of the store, which have to stay."""
    notes: tuple[str, ...] = ()
    """What is to be told: columns of another type than in the version."""


@dataclass(frozen=True)
class Published:
    """A version, as formats take it.

    Args:
        manifest: of the version.
        rows: of it.
        tags: the dataset's tags, each with the version that it points at.
        history: digest of the first link of the history's log, which no two have in common.
        hold: keeps the version's files from being cleared away; called before anything names them.
    """

    manifest: Manifest
    rows: Rows
    tags: dict[str, str]
    history: str
    hold: Callable[[], object]

    @cached_property
    def properties(self) -> dict[str, str]:
        """What a snapshot says of the version."""
        manifest = self.manifest
        facts = {
            "dataset": manifest.dataset,
            "version": manifest.version,
            "kind": manifest.kind,
            "parent": manifest.parent,
            "run": manifest.run_id,
            "verdict": (manifest.verdict or {}).get("word"),
            "members": manifest.members,
            "published": manifest.published,
            "identity": identity_of(manifest),
            "history": self.history,
        }
        return {f"gradsieve.{name}": value for name, value in facts.items() if value is not None}

    @property
    def names(self) -> tuple[str, str]:
        """The table of rows, and that of decisions."""
        return self.manifest.dataset, f"{self.manifest.dataset}_decisions"

    def files(self) -> tuple[StoredFile, ...] | None:
        """The rows as plain Parquet; None of a version that is too large to have them.

        A part of which every row stays is named as the part: versions share it.
        """
        content = self.rows.content
        if content.plain is None:
            return None
        parts = {part.sha256: part.path for part in content.parts}
        names = (parts.get(file.sha256, f"{content.folder}/data/{file.name}") for file in content.plain)
        return tuple(StoredFile(name, file.rows) for name, file in zip(names, content.plain, strict=True) if file.rows)

    def stream(self) -> pa.RecordBatchReader:
        """The rows, a batch at a time."""
        schema = self.rows.schema()
        batches: Iterator[pa.RecordBatch] = (batch.cast(schema) for _, batch in self.rows.batches() if batch.num_rows)
        return pa.RecordBatchReader.from_batches(schema, batches)

    def decisions(self) -> pa.RecordBatchReader:
        """The decisions."""
        return self.rows.decisions.to_reader()

    def schemas(self) -> tuple[pa.Schema, pa.Schema]:
        """Of the rows, and of the decisions."""
        return self.rows.schema(), pq.read_schema(self.rows.file(self.rows.content.decided))

    def check(self, where: str, there: dict[str, str]) -> bool:
        """Whether a snapshot of these properties is of this version.

        Raises:
            BadConfig: it is of a version of the same name, but of another history.
        """
        if there.get(VERSION) != self.manifest.version:
            return False
        if there.get(IDENTITY) != self.properties[IDENTITY]:
            raise BadConfig(
                where=where,
                expected=f"versions of the history that {self.manifest.dataset} {self.manifest.version} is of",
                got=f"a {self.manifest.version} of another one, published {there.get('gradsieve.published')}",
                do="Name another place with --at.",
            )
        return True

    def check_last(self, where: str, last: dict[str, Any]) -> None:
        """Refuse a table that somebody else has written, by the properties of the last snapshot that changed rows.

        Raises:
            BadConfig: it holds no version of this dataset's history.
        """
        names = ("gradsieve.dataset", HISTORY)
        if all(last.get(name) == self.properties[name] for name in names):
            return
        dataset = last.get("gradsieve.dataset")
        raise BadConfig(
            where=where,
            expected=f"no table yet, or one that was last written with a version of this {self.manifest.dataset}",
            got=f"{dataset} {last.get(VERSION)} of another history" if dataset else "one that gradsieve did not write",
            do="Name another place with --at. Nothing was written.",
        )


class TableFormat(Component):
    """Base of all formats."""

    kind: Any = None
    at: str = Field(description="Where the tables are.")

    def publish(self, version: Published) -> Receipt:
        """Make ``version`` the next snapshot of the table of rows and of that of decisions, unless it is one already.

        Raises:
            BadConfig: the package is not installed, the place does not answer or holds another history.
            BadInput: a column cannot be written without loss.
        """
        raise TypeError(f"{type(self).__name__} must define publish()")

    @property
    def place(self) -> str:
        """A URL, or the whole path of a folder."""
        return self.at if "://" in self.at else str(Path(self.at).expanduser().resolve())

    def address(self, name: str) -> str:
        """Of a table, in formats that have no catalogue."""
        return f"{self.place.rstrip('/')}/{name}"


TABLE_FORMATS: Registry[TableFormat] = Registry(__name__, TableFormat)
