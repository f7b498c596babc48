"""Tables that keep their versions: one snapshot of them is read, by its own format's library."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
from pydantic import Field

from tasks.core.errors import BadInput, cause_of
from tasks.ingestion.files.source_files import Source, SourceFile
from tasks.ingestion.readers.arrow_batches import in_chunks
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.tables.table_rows import Batch


class SnapshotRows(NamedTuple):
    """One snapshot of a table."""

    digest: str
    """Of the table and the snapshot: what decides the rows."""
    schema: pa.Schema
    batches: Iterable[pa.RecordBatch]


class TableSnapshots(Tabular):
    """Base of the readers of tables with versions."""

    kind: Any = None
    path: Path = Field(description="Folder or address of the table.")
    revision: str | None = Field(
        default=None,
        description="Version of a table of delta, iceberg or lance: a number, a tag, or a time; default: the newest. "
        "Of huggingface the hub's commit: name one, or the source may change unseen.",
    )

    def snapshot(self, path: Path) -> SnapshotRows:
        """The snapshot that is meant; nothing is read of its rows yet."""
        raise TypeError(f"{type(self).__name__} must define snapshot()")

    def batches(self, path: Path) -> Iterator[Batch]:
        """The snapshot's rows, in the order of its files."""
        with self.refusals(path):
            snapshot = self.snapshot(path)
            yield from in_chunks(path.name, snapshot.schema, snapshot.batches)

    def files(self) -> list[Path]:
        """None: a table's folder holds the files of all its snapshots."""
        return []

    def fingerprint(self) -> str:
        """The snapshots, and the tokenizer; a table that is not there is left for ``open`` to report."""
        digests = []
        for path in (self.path, self.test_path, self.reference_path):
            if path is not None:
                try:
                    with self.refusals(path):
                        digests.append(self.snapshot(path).digest)
                except BadInput:
                    digests.append("")
        return " ".join([super().fingerprint(), *digests])

    def existing(self, path: Path) -> Path:
        """The path as it is: the library says whether a table is there."""
        return path

    def source(self, path: Path, *, splits: bool = False, but: Iterable[Path] = ()) -> Source:
        """The table as one file."""
        return Source((SourceFile(path, path.name),))

    @contextmanager
    def refusals(self, path: Path) -> Iterator[None]:
        """What a library says, in our own words."""
        try:
            yield
        except Exception as error:
            ours = (OSError, ValueError, TypeError, KeyError, pa.ArrowException)
            if not isinstance(error, ours) and not type(error).__module__.startswith(("pyiceberg.", "deltalake.")):
                raise
            raise BadInput(
                where=f"{address(path)}, version {self.revision or 'newest'}",
                expected=f"a table of kind {self.kind}",
                got=cause_of(error),
                do="Check --reader.path and --reader.revision.",
            ) from error


def address(path: Path) -> str:
    """A path, or a URL that was taken for one and so has lost a slash."""
    text = re.sub(r"^([a-z][a-z0-9+]+):/(?=[^/])", r"\1://", str(path))
    return text if "://" in text else str(Path(text).expanduser().absolute())


def storage_options(where: str) -> dict[str, str] | None:
    """What the environment does not say by itself: that an endpoint without encryption is meant."""
    is_plain = "://" in where and os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return {"allow_http": "true"} if is_plain else None


def moment_of(revision: str) -> datetime | None:
    """A time, UTC unless it says otherwise; None of what is none."""
    if not re.match(r"\d{4}-\d\d-\d\d", revision):
        return None
    moment = datetime.fromisoformat(revision)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
