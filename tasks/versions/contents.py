"""The rows of a version: its parts, with what was decided applied to them."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.errors import BadArtefact
from tasks.core.sql import connect, identifier, query, register
from tasks.pipeline.artefacts import File
from tasks.pipeline.durable_files import sha256_of
from tasks.pipeline.schemas import DECISIONS, FLAGS
from tasks.pipeline.verified_files import has_content
from tasks.versions.history import History
from tasks.versions.manifest import Content, Part

if TYPE_CHECKING:
    from tasks.core.sql import Source

Remedy = Literal["remove", "relabel"]

# What identifies a member of a version.
MEMBERS = ("sample_id", "split", "label")
THIN = ["sample_id", "label", "source", "row", "source_id", "split"]
"""What ``decide`` needs of the samples."""
COPIES_RULE = "copies.remove"
"""The rule by which copies are left out."""
# Rows in memory at a time, and names of them as Python has them.
_ROWS, _DIGESTED = 4096, 1 << 14


def decide(
    flags: Source, samples: Source, scores: Source, remedy: Remedy, rule: str, scratch: Path | None = None
) -> pa.Table:
    """Flags to decisions (tasks/versions/decisions.sql).

    Args:
        flags: schema ``FLAGS``; more columns do no harm.
        samples: sample_id, label, source, row, source_id and split, at least of those samples.
        scores: one suspicion column a detector.
        remedy: whether a flagged sample with another label suggested is given that label, or removed like the others.
        rule: what decided, in words.
        scratch: a folder for what the query does not hold in memory; without one it holds all.

    Returns:
        Schema ``DECISIONS``, by rank: every flagged sample, and every one a guard kept.
    """
    with duckdb.connect() if scratch is None else connect(scratch) as db:
        register(db, all_flags=flags, all_samples=samples, scores=scores)
        # Both may name the label and the source, which are the samples'.
        for name, columns in {"flags": FLAGS.names, "samples": THIN}.items():
            db.execute(f"CREATE TEMP VIEW {name} AS SELECT {', '.join(map(identifier, columns))} FROM all_{name}")
        decisions = db.sql(query("versions/decisions"), params={"remedy": remedy, "rule": rule}).to_arrow_table()
    return decisions.cast(DECISIONS)


def decide_left_out(left_out: pa.Table) -> pa.Table:
    """Decisions about copies that a run left out before it trained anything.

    Args:
        left_out: schema ``LEFT_OUT``.

    Returns:
        Schema ``DECISIONS``, without rank: no detector has seen them.
    """
    n = left_out.num_rows
    constants = {"decision": "remove", "rule": COPIES_RULE, "decided_by": "rule"}
    columns = {"old_label": left_out["label"]} | {name: pa.array([value] * n) for name, value in constants.items()}
    for name in ("sample_id", "reason", "source", "row", "source_id", "split"):
        columns[name] = left_out[name]
    arrays = [columns.get(field.name, pa.nulls(n, field.type)) for field in DECISIONS]
    return pa.table(arrays, names=DECISIONS.names).cast(DECISIONS)


class DecisionFilter:
    """Decisions, ready to be applied to rows in the order they come."""

    def __init__(self, decisions: pa.Table) -> None:
        removed = decisions.filter(pc.equal(decisions["decision"], "remove"))
        relabelled = decisions.filter(pc.equal(decisions["decision"], "relabel"))
        self.removed = removed["sample_id"].combine_chunks()
        self.relabelled = relabelled["sample_id"].combine_chunks()
        self.labels = relabelled["new_label"].combine_chunks()

    def apply(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The rows that are kept, under the labels they have now; the batch itself where nothing changes."""
        is_removed = pc.is_in(batch["sample_id"], value_set=self.removed)
        if pc.any(is_removed).as_py():
            batch = batch.filter(pc.invert(is_removed))
        index = pc.index_in(batch["sample_id"], value_set=self.relabelled)
        if index.null_count == len(index):
            return batch
        label = pc.coalesce(self.labels.take(index), batch["label"])
        return batch.set_column(batch.schema.get_field_index("label"), batch.schema.field("label"), label)


class Rows:
    """The rows of one content, wherever its files lie.

    Args:
        history: of the dataset.
        content: of one of its versions.
        scratch: where files of an object store are copied to.
        here: local files that are the same as some objects.
    """

    def __init__(self, history: History, content: Content, scratch: Path, here: dict[str, Path]) -> None:
        self.history, self.content, self.scratch, self.here = history, content, scratch, here

    def file(self, name: str) -> Path:
        """A local file of an object of the dataset.

        Raises:
            BadArtefact: there is none, or its content is not what it was.
        """
        if name in self.here:
            return self.here[name]
        path = self.history.objects.file(f"{self.history.dataset}/{name}", self.scratch)
        return checked(path, self.content.objects[name].sha256)

    @property
    def decisions(self) -> pa.Table:
        """Schema ``DECISIONS``."""
        return pq.read_table(self.file(self.content.decided))

    def batches(self, columns: Iterable[str] | None = None) -> Iterator[tuple[Part, pa.RecordBatch]]:
        """Record batches of all rows, part by part; ``columns`` must hold sample_id and label."""
        decisions = DecisionFilter(self.decisions)
        for part in self.content.parts:
            with pq.ParquetFile(self.file(part.path)) as file:
                for batch in file.iter_batches(batch_size=_ROWS, columns=None if columns is None else list(columns)):
                    yield part, decisions.apply(batch)

    def members(self) -> pa.Table:
        """sample_id, split and label of every row, by id."""
        batches = [batch for _, batch in self.batches(MEMBERS)]
        schema = pa.schema([pa.field(name, pa.string(), nullable=False) for name in MEMBERS])
        return pa.Table.from_batches([b.select(list(MEMBERS)).cast(schema) for b in batches], schema).sort_by(
            "sample_id"
        )

    def schema(self) -> pa.Schema:
        """Of the rows."""
        return pq.read_schema(self.file(self.content.parts[0].path))


@contextmanager
def rows_of(history: History, content: Content, here: dict[str, Path] | None = None) -> Iterator[Rows]:
    """The rows of a content; what is copied from an object store is gone again afterwards."""
    with tempfile.TemporaryDirectory(prefix="gradsieve-") as scratch:
        yield Rows(history, content, Path(scratch), here or {})


def members_digest(members: pa.Table) -> str:
    """SHA-256 of the members: of each column its values' lengths, then their bytes, in the order of the ids."""
    digest = hashlib.sha256()
    for name in MEMBERS:
        column = members[name].cast(pa.large_string()).combine_chunks()
        digest.update(pc.binary_length(column).cast(pa.int64()).to_numpy(zero_copy_only=False).tobytes())
        for start in range(0, len(column), _DIGESTED):
            digest.update("".join(column.slice(start, _DIGESTED).to_pylist()).encode())
    return digest.hexdigest()


def write_plain(source: Path, decisions: DecisionFilter, target: Path) -> int | None:
    """The rows of one part as they are in a version; None, and nothing written, where every row stays as it is."""
    rows = 0
    with pq.ParquetFile(source) as file:
        ids = (batch["sample_id"] for batch in file.iter_batches(columns=["sample_id"]))
        ids_decided = pa.concat_arrays([decisions.removed, decisions.relabelled])
        if not any(pc.any(pc.is_in(column, value_set=ids_decided)).as_py() for column in ids):
            return None
        with pq.ParquetWriter(target, file.schema_arrow, compression="zstd") as sink:
            for batch in file.iter_batches(batch_size=_ROWS):
                rows_kept = decisions.apply(batch)
                sink.write_batch(rows_kept)
                rows += rows_kept.num_rows
    return rows


def checked(path: Path, sha256: str) -> Path:
    """The file itself, if its content is what it was; read once in a process.

    Raises:
        BadArtefact: it is not.
    """
    if has_content(path, sha256):
        return path
    raise BadArtefact(
        where=str(path),
        expected=f"SHA-256 {sha256}",
        got="other content",
        do="Restore it from a copy, or run gradsieve clean again, which puts right what it publishes. "
        "gradsieve versions verify says what else is wrong.",
    )


def file_of(path: Path, name: str, rows: int) -> File:
    """A written file, by what it holds."""
    return File(name=name, rows=rows, size=path.stat().st_size, sha256=sha256_of(path))
