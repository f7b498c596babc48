"""A version in a table that others keep: the same rows, known again, the next one as the next snapshot."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast, get_args

import pyarrow as pa
import pytest

from flows.__main__ import main
from flows.command_line.publish_version import Publish
from tasks.core.errors import BadConfig, BadInput
from tasks.versions.contents import rows_of
from tasks.versions.history import History
from tasks.versions.rollback import roll_back
from tasks.versions.signed_types import signed, widened
from tasks.versions.table_formats import TABLE_FORMATS
from tasks.versions.table_publication import publish_to

PACKAGES = {"iceberg": "pyiceberg", "delta": "deltalake", "lance": "lance"}
KINDS = list(PACKAGES)


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    """Each format in turn, where its library is installed."""
    pytest.importorskip(PACKAGES[request.param])
    return request.param


def table(kind: str, at: Path, name: str, version: str | int | None = None) -> pa.Table:
    """What the format's own library reads."""
    if kind == "lance":
        import lance

        return lance.dataset(str(at / f"{name}.lance"), version=version).to_table()
    if kind == "delta":
        from deltalake import DeltaTable

        return pa.table(DeltaTable(str(at / name), version=version).to_pyarrow_table())
    from pyiceberg.catalog import load_catalog

    endpoint = {"s3.endpoint": os.environ.get("AWS_ENDPOINT_URL")}
    uri = f"sqlite:///{at}/catalog.db"
    catalog = load_catalog("gradsieve", type="sql", uri=uri, warehouse=f"file://{at}", **endpoint)
    loaded = catalog.load_table(("gradsieve", name))
    snapshot = loaded.snapshot_by_name(version).snapshot_id if isinstance(version, str) else version
    return loaded.scan(snapshot_id=snapshot).to_arrow()


def write(kind: str, at: Path, name: str, rows: pa.Table) -> None:
    """Add rows to a table, by the format's own library, as somebody else does; make it where there is none."""
    at.mkdir(exist_ok=True)
    if kind == "lance":
        import lance

        path = at / f"{name}.lance"
        lance.write_dataset(rows, str(path), mode="append" if path.exists() else "create")
    elif kind == "delta":
        from deltalake import write_deltalake

        write_deltalake(str(at / name), rows, mode="append")
    else:
        from pyiceberg.catalog import load_catalog

        catalog = load_catalog("gradsieve", type="sql", uri=f"sqlite:///{at}/catalog.db", warehouse=f"file://{at}")
        catalog.create_namespace_if_not_exists("gradsieve")
        catalog.create_table_if_not_exists(("gradsieve", name), schema=rows.schema).append(rows)


def by_id(rows: pa.Table) -> dict[str, dict[str, Any]]:
    """The rows of a table by their ids."""
    return {row["sample_id"]: row for row in rows.to_pylist()}


def ours(history: History, version: str) -> dict[str, dict[str, Any]]:
    """The rows of a version by their ids."""
    with rows_of(history, history.resolve(version).rows_of) as rows:
        return by_id(pa.Table.from_batches([batch for _, batch in rows.batches()]))


def test_every_row_and_byte_and_decision_is_there(published, tmp_path, kind):
    ready = published(flagged=6, relabelled=2)
    history, at = ready.history, tmp_path / "tables"
    receipt = publish_to(history, history.resolve("v0002"), kind, str(at))
    assert [snapshot.is_new for snapshot in receipt.snapshots] == [True, True]
    expected = ours(history, "v0002")
    assert max(max(row["x"]) for row in expected.values()) > 127
    assert by_id(table(kind, at, "tiny")) == expected
    assert len(table(kind, at, "tiny_decisions")) == 7


def test_the_same_version_again_is_no_snapshot_and_another_is_the_next(published, tmp_path, kind):
    ready = published(flagged=6)
    history, at = ready.history, tmp_path / "tables"
    history.move("current", "v0002", "me", "so")

    def publish(version: str) -> list[tuple[str, bool]]:
        receipt = publish_to(history, history.resolve(version), kind, str(at))
        return [(snapshot.name, snapshot.is_new) for snapshot in receipt.snapshots]

    first, again, second = publish("v0001"), publish("v0001"), publish("v0002")
    assert again == [(name, False) for name, _ in first]
    assert [is_new for _, is_new in second] == [True, True]
    assert publish("v0001") == again
    assert by_id(table(kind, at, "tiny")) == ours(history, "v0002")
    before = "v0001" if kind == "lance" else int(first[0][0])
    assert by_id(table(kind, at, "tiny", before)) == ours(history, "v0001")
    if kind != "delta":
        assert by_id(table(kind, at, "tiny", "current")) == ours(history, "v0002")
        assert table(kind, at, "tiny_decisions", "v0001").num_rows == 0


def test_a_version_of_another_history_is_refused(prepare, tmp_path, kind, archive):
    one, other = prepare(), prepare(lake=tmp_path / "other", source=archive("other.npz", seed=1))
    for ready in (one, other):
        ready.publish()
    at = str(tmp_path / "tables")
    publish_to(one.history, one.history.resolve("v0001"), kind, at)
    for version in ("v0001", "v0002"):
        with pytest.raises(BadConfig, match="tiny v0001 of another history"):
            publish_to(other.history, other.history.resolve(version), kind, at)
    assert by_id(table(kind, Path(at), "tiny")) == ours(one.history, "v0001")
    assert other.history.tags() == {"current": "v0001"}


@pytest.mark.parametrize("name", ["tiny", "tiny_decisions"])
def test_a_table_that_somebody_else_has_written_is_not_written_over(published, tmp_path, kind, name):
    ready = published()
    at, theirs = tmp_path / "tables", pa.table({"customer": ["a", "b"]})
    write(kind, at, name, theirs)
    with pytest.raises(BadConfig, match=r"got one that gradsieve did not write\. Name another place"):
        publish_to(ready.history, ready.history.resolve("v0002"), kind, str(at))
    assert table(kind, at, name) == theirs
    assert ready.history.tags() == {"current": "v0001"}


def test_rows_that_somebody_else_has_added_are_not_written_over(published, tmp_path, kind):
    ready = published()
    at = tmp_path / "tables"
    publish_to(ready.history, ready.history.resolve("v0001"), kind, str(at))
    theirs = table(kind, at, "tiny").slice(0, 1)
    write(kind, at, "tiny", theirs)
    with pytest.raises(BadConfig, match="that gradsieve did not write"):
        publish_to(ready.history, ready.history.resolve("v0002"), kind, str(at))


def test_two_datasets_whose_tables_have_one_name_do_not_meet(prepare, tmp_path, kind):
    one, other = prepare(), prepare(lake=tmp_path / "other", dataset="tiny_decisions")
    for ready in (one, other):
        ready.publish()
    publish_to(one.history, one.history.resolve("v0002"), kind, str(tmp_path / "tables"))
    with pytest.raises(BadConfig, match="got tiny v0002 of another history"):
        publish_to(other.history, other.history.resolve("v0002"), kind, str(tmp_path / "tables"))


def test_a_table_that_was_made_compact_takes_the_next_version(published, tmp_path):
    pytest.importorskip("deltalake")
    from deltalake import DeltaTable

    ready = published()
    at = tmp_path / "tables"
    for version in ("v0001", "v0002"):
        publish_to(ready.history, ready.history.resolve(version), "delta", str(at))
    DeltaTable(str(at / "tiny")).vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False)
    assert DeltaTable(str(at / "tiny")).history()[0]["operation"].startswith("VACUUM")
    manifest = roll_back(ready.history, ready.history.resolve("v0001"), "me", "so")
    receipt = publish_to(ready.history, manifest, "delta", str(at))
    assert [snapshot.is_new for snapshot in receipt.snapshots] == [True, True]


def test_a_publication_that_is_killed_has_its_files_kept_from_the_moment_they_are_named(
    published, tmp_path, monkeypatch
):
    pytest.importorskip("pyiceberg")
    from tasks.versions.table_formats import iceberg

    ready = published()
    held: list[dict[str, str]] = []

    def killed(*_: Any) -> None:
        held.append(ready.history.tags())
        raise KeyboardInterrupt

    monkeypatch.setattr(iceberg, "_commit", killed)
    with pytest.raises(KeyboardInterrupt):
        publish_to(ready.history, ready.history.resolve("v0002"), "iceberg", str(tmp_path / "tables"))
    assert held == [{"current": "v0001", "iceberg-v0002": "v0002"}]
    monkeypatch.undo()
    # The table without a snapshot that it left is its own, and the next attempt goes on.
    receipt = publish_to(ready.history, ready.history.resolve("v0002"), "iceberg", str(tmp_path / "tables"))
    assert [snapshot.is_new for snapshot in receipt.snapshots] == [True, True]


def test_iceberg_names_the_files_of_the_version_and_keeps_it_from_vacuum(published, tmp_path):
    pytest.importorskip("pyiceberg")
    ready = published(flagged=6)
    history, at = ready.history, tmp_path / "tables"
    publish_to(history, history.resolve("v0002"), "iceberg", str(at))
    assert not list(at.rglob("*.parquet"))
    assert history.version_of("iceberg-v0002") == "v0002"


def test_a_version_too_large_to_stand_in_plain_has_only_its_changed_parts_written(prepare, tmp_path, monkeypatch):
    pytest.importorskip("pyiceberg")
    monkeypatch.setattr("tasks.versions.publication.PLAIN_BYTES", 0)
    ready = prepare(flagged=3)
    ready.publish()
    history, at = ready.history, tmp_path / "tables"
    assert history.resolve("v0002").plain is None
    publish_to(history, history.resolve("v0002"), "iceberg", str(at))
    assert by_id(table("iceberg", at, "tiny")) == ours(history, "v0002")
    assert 0 < len(list(at.rglob("*.parquet"))) < len(history.resolve("v0002").parts)


@pytest.mark.parametrize("kind", ["iceberg", "delta"])
def test_no_integer_is_lost_for_want_of_a_sign_and_what_would_be_is_refused(kind):
    wide = pa.schema({"a": pa.uint8(), "b": pa.list_(pa.uint32(), 3), "c": pa.struct({"d": pa.uint16()})})
    narrow = pa.schema({"a": pa.int16(), "b": pa.list_(pa.int64(), 3), "c": pa.struct({"d": pa.int32()})})
    assert signed(wide, kind) == narrow
    with pytest.raises(BadInput, match="column e"):
        signed(pa.schema({"e": pa.list_(pa.uint64())}), kind)


def written(at: Path, column: pa.Array | pa.ChunkedArray) -> tuple[pa.Table, tuple[str, ...]]:
    """A column as Delta has it, and what is told of its type."""
    from tasks.versions.table_formats import delta

    before = pa.schema({"a": column.type})
    after = signed(before, "option to delta", delta._plain)
    rows = pa.table({"a": column}).to_reader()
    version = SimpleNamespace(properties={}, check=lambda *_: False)
    with delta._refusals(str(at)):
        delta._write(cast("Any", version), str(at / "tiny"), [], after, lambda: rows)
    return table("delta", at, "tiny"), widened(before, after)


@pytest.mark.parametrize(
    ("values", "kind", "becomes"),
    [
        ([200, None], pa.dictionary(pa.int32(), pa.uint8()), "int16"),
        (["a", "b"], pa.dictionary(pa.int8(), pa.string()), "string"),
        ([[(200, 201)], None], pa.map_(pa.uint8(), pa.uint8()), "map<int16, int16>"),
        ([[["a"]], None], pa.list_(pa.list_(pa.dictionary(pa.int32(), pa.string()))), "list<item: list<item: string>>"),
        ([datetime(2026, 11, 29, tzinfo=UTC)], pa.timestamp("us", "Europe/Berlin"), "timestamp[us, tz=UTC]"),
        ([datetime(2026, 11, 29, 1, 2, 3, 4)], pa.timestamp("ns"), "timestamp[us]"),
        ([datetime(2026, 11, 29)], pa.date64(), "date32[day]"),
        ([b"\xff\x80", None], pa.binary(2), "binary"),
    ],
)
def test_delta_has_every_value_of_a_type_that_it_does_not_have_and_the_change_is_told(tmp_path, values, kind, becomes):
    pytest.importorskip("deltalake")
    column = pa.array(values, kind)
    there, notes = written(tmp_path, column)
    assert notes == (f"column a: {kind} is written as {becomes}",)
    assert there["a"].to_pylist() == column.to_pylist()


@pytest.mark.parametrize(
    "kind", [pa.time64("us"), pa.duration("us"), pa.decimal256(50, 2), pa.timestamp("ns"), pa.uint64()]
)
def test_what_delta_cannot_hold_is_refused_in_words_and_nothing_is_written(tmp_path, kind):
    pytest.importorskip("deltalake")
    with pytest.raises(BadInput, match="publish --to lance"):
        written(tmp_path, pa.array([1], pa.int64()).cast(kind) if "decimal" not in str(kind) else pa.nulls(1, kind))
    assert not list(tmp_path.rglob("*.json"))


def test_a_version_in_a_bucket_goes_into_tables_there_or_here(published, bucket, kind, tmp_path):
    ready = published(flagged=6, elsewhere=True)
    history = ready.history
    at = str(tmp_path / "tables") if kind == "iceberg" else f"{bucket}-tables"
    # The server is of this process, and one of the libraries lets no other thread run while it waits.
    command = [sys.executable, "-m", "flows", "versions", "publish", "v0002", "--lake", str(ready.run.lake)]
    command += ["--store", ready.store, "--to", kind, "--at", at]
    told = [subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout for _ in range(2)]
    assert [text.count("new") for text in told] == [2, 0]
    if kind == "iceberg":
        assert by_id(table(kind, tmp_path / "tables", "tiny")) == ours(history, "v0002")
        return
    for name, expected in (("tiny", ours(history, "v0002")), ("tiny_decisions", None)):
        address = f"{at}/{name}{'.lance' if kind == 'lance' else ''}"
        command = [sys.executable, "-c", READ, kind, address, "v0002"]
        read = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True).stdout
        rows = {row["sample_id"]: row for row in map(json.loads, read.splitlines())}
        assert (len(rows) == 7) if expected is None else (rows == json.loads(json.dumps(expected)))


# By our own reader, as a source of another run is.
READ = """
import json, sys
from pathlib import Path
from tasks.ingestion.readers import READERS
kind, address, revision = sys.argv[1:]
reader = READERS.components[kind](path=Path(address), revision=revision)
for batch in reader.snapshot(reader.path).batches:
    for row in batch.to_pylist():
        print(json.dumps(row, default=str))
"""


def test_iceberg_whose_tables_are_in_a_catalogue_takes_no_bucket_and_says_so(published):
    pytest.importorskip("pyiceberg")
    ready = published()
    with pytest.raises(BadConfig, match="name the folder or the address of one"):
        publish_to(ready.history, ready.history.resolve("v0002"), "iceberg", "s3://bucket/tables")


def test_the_command_says_what_is_where_and_the_formats_are_those_there_are(published, tmp_path, capsys):
    pytest.importorskip("deltalake")
    ready = published(flagged=6)
    command = [
        "versions",
        "publish",
        "v0002",
        "--lake",
        str(ready.run.lake),
        "--to",
        "delta",
        "--at",
        str(tmp_path / "t"),
    ]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "tiny v0002" in said
    assert "uint8" in said
    assert "snapshot 0, new" in said
    assert main(command) == 0
    assert "there already" in capsys.readouterr().out
    assert list(TABLE_FORMATS.components) == list(get_args(Publish.model_fields["to"].annotation))


@pytest.mark.parametrize("command", ["export", "publish"])
def test_both_helps_say_which_writes_files_and_which_a_table(command, capsys):
    assert main(["versions", command, "--help"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert f"versions {'publish' if command == 'export' else 'export'}" in said
