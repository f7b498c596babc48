"""Tables with versions as sources: which snapshot is read, and that no other one changes what was read."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

from tasks.core.errors import BadConfig, BadInput
from tasks.ingestion.files.source_kind import kind_of_source
from tasks.ingestion.readers import READERS, Reader

PACKAGES = {"iceberg": "pyiceberg", "delta": "deltalake", "lance": "lance"}


def rows(first: int) -> pa.Table:
    """Thirty rows of two numbers."""
    numbers = list(range(first, first + 30))
    return pa.table({"a": numbers, "b": [n % 7 for n in numbers], "label": [("x", "y")[n % 2] for n in numbers]})


def _write(kind: str, folder: Path) -> tuple[Path, list[str], dict[str, str]]:
    """A table of two snapshots, the second with other rows: its path, their names, and what its reader needs beside."""
    if kind == "delta":
        from deltalake import write_deltalake

        for first in (0, 100):
            write_deltalake(folder / "t", rows(first), mode="overwrite")
        return folder / "t", ["0", "1"], {}
    if kind == "lance":
        import lance

        for first in (0, 100):
            table = lance.write_dataset(rows(first), folder / "t.lance", mode="overwrite" if first else "create")
        table.tags.create("golden", 1)
        return folder / "t.lance", ["golden", "2"], {}
    from pyiceberg.catalog import load_catalog

    catalog = load_catalog("gradsieve", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}")
    catalog.create_namespace("a")
    table = catalog.create_table("a.t", schema=rows(0).schema)
    table.append(rows(0))
    table.manage_snapshots().create_tag(table.current_snapshot().snapshot_id, "golden").commit()
    table.overwrite(rows(100))
    return folder, ["golden", str(table.current_snapshot().snapshot_id)], {"name": "a.t"}


@pytest.fixture(params=PACKAGES)
def kind(request: pytest.FixtureRequest) -> str:
    """Each format in turn, where its library is installed."""
    pytest.importorskip(PACKAGES[request.param])
    return request.param


def reader(kind: str, path: Path, **options: object) -> Reader:
    """Of numbers as features."""
    return READERS.components[kind](path=path, test_share=0.0, **options)


def test_a_snapshot_is_read_by_its_name_and_the_newest_by_default(kind, tmp_path, read):
    path, (old, new), others = _write(kind, tmp_path)
    first = {
        revision: min(read(reader(kind, path, revision=revision, **others)).column("a"))
        for revision in (old, new, None)
    }
    assert first == {old: 0, new: 100, None: 100}


def test_the_fingerprint_is_of_the_snapshot(kind, tmp_path):
    path, (old, new), others = _write(kind, tmp_path)
    newest = reader(kind, path, **others).fingerprint()
    assert reader(kind, path, revision=new, **others).fingerprint() == newest
    assert reader(kind, path, revision=old, **others).fingerprint() != newest


def test_its_folder_tells_which_format_it_is(kind, tmp_path):
    assert kind_of_source(_write(kind, tmp_path)[0]) == kind


def test_what_is_not_there_is_told(kind, tmp_path):
    path, _, others = _write(kind, tmp_path)
    for other in (
        reader(kind, path, revision="nowhere", **others),
        reader(kind, tmp_path / "none", **others),
        reader(kind, path, label="missing", **others),
    ):
        with pytest.raises((BadInput, BadConfig)):
            other.open()


def test_a_table_of_iceberg_is_read_without_its_catalogue(tmp_path, read):
    pytest.importorskip("pyiceberg")
    _write("iceberg", tmp_path)
    folder = next(tmp_path.rglob("metadata")).parent
    assert kind_of_source(folder) == "iceberg"
    assert min(read(reader("iceberg", folder)).column("a")) == 100
    assert min(read(reader("iceberg", folder, revision="golden")).column("a")) == 0


def test_what_was_published_is_read_under_the_version_s_name(tmp_path):
    deltalake = pytest.importorskip("deltalake")
    for first, version in ((0, "v0001"), (100, "v0002"), (200, "v0003")):
        properties = deltalake.CommitProperties(custom_metadata={"gradsieve.version": version})
        deltalake.write_deltalake(tmp_path / "t", rows(first), mode="overwrite", commit_properties=properties)
    named, numbered = (reader("delta", tmp_path / "t", revision=name).fingerprint() for name in ("v0002", "1"))
    assert named == numbered


def test_what_a_delta_table_s_files_leave_out_is_read_too(tmp_path):
    deltalake = pytest.importorskip("deltalake")
    table = rows(0).append_column("year", pa.array([2019, 2020, 2020] * 10))
    deltalake.write_deltalake(tmp_path / "t", table, partition_by=["year", "b"])
    later = table.append_column("c", pa.array([1.5] * 30))
    deltalake.write_deltalake(tmp_path / "t", later, mode="append", schema_mode="merge")
    whole = deltalake.DeltaTable(tmp_path / "t").to_pyarrow_dataset()
    source = reader("delta", tmp_path / "t")
    made = pa.Table.from_batches([batch.table for batch in source.batches(tmp_path / "t")])
    assert made.equals(whole.to_table().select(made.schema.names))
    assert (made.num_rows, made["c"].null_count) == (60, 30)
    assert set(made["year"].to_pylist()) == {2019, 2020}
