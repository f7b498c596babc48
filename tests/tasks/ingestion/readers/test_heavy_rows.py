"""However heavy a row is, a chunk is not; what is too heavy for a row is refused in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadInput
from tasks.ingestion import readers, two_passes
from tasks.ingestion.files import json_rows
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers import CHUNK_BYTES, LARGEST_ROW, READERS, Reader, chunk_rows, excel
from tasks.ingestion.readers.arrow_batches import in_chunks
from tasks.ingestion.tables.table_rows import Batch
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run

ROWS, LETTERS = 120, 1 << 18


def _texts() -> pa.Table:
    text = [f"{i} " + "x" * LETTERS for i in range(ROWS)]
    return pa.table({"text": text, "label": [f"c{i % 2}" for i in range(ROWS)]})


def _source(kind: str, folder: Path) -> Reader:
    path, table = folder / f"a.{kind}", _texts()
    if kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif kind == "parquet":
        pq.write_table(table, path)  # one row group, as other programs write it
    elif kind == "arrow":
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    elif kind == "huggingface":
        pytest.importorskip("datasets").Dataset(table).save_to_disk(path)
    elif kind == "delta":
        pytest.importorskip("deltalake").write_deltalake(path, table)
    elif kind == "lance":
        pytest.importorskip("lance").write_dataset(table, path)
    elif kind == "iceberg":
        return _iceberg(folder, [table.slice(first, ROWS // 4) for first in range(0, ROWS, ROWS // 4)])
    else:
        x = np.zeros((ROWS, LETTERS // 4), np.float32)
        x[:, 0] = np.arange(ROWS)
        np.savez(path, x=x, y=np.arange(ROWS) % 2)
        return READERS.components[kind](path=path)
    return READERS.components[kind](path=path, text="text")


def _iceberg(folder: Path, parts: list[pa.Table]) -> Reader:
    catalog = pytest.importorskip("pyiceberg.catalog").load_catalog(
        "gradsieve", type="sql", uri=f"sqlite:///{folder}/catalog.db", warehouse=f"file://{folder}"
    )
    catalog.create_namespace("a")
    table = catalog.create_table("a.b", schema=parts[0].schema)
    for part in reversed(parts):  # what was written last is read first
        table.append(part)
    return READERS.components["iceberg"](path=folder, name="a.b", text="text")


@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow", "npz", "huggingface", "delta", "lance", "iceberg"])
def test_heavy_rows_make_small_chunks(kind, tmp_path):
    _, chunks = _source(kind, tmp_path).open()
    rows = [chunk.rows.to_pylist() for chunk in chunks]
    assert max(map(len, rows)) <= CHUNK_BYTES // LETTERS + 1
    assert [row for chunk in rows for row in chunk] == list(range(ROWS))


@pytest.mark.parametrize("kind", ["delta", "iceberg"])
def test_a_format_s_own_library_is_not_asked_for_more_than_one_chunk_or_file(kind, tmp_path, monkeypatch):
    """A piece of a batch keeps all of it in memory."""
    sizes, make = list[int](), Batch.__init__

    def seen(batch: Batch, source: str, table: pa.RecordBatch, *rest: object, **others: object) -> None:
        sizes.append(sum(buffer.size for column in table.columns for buffer in column.buffers() if buffer))
        make(batch, source, table, *rest, **others)

    monkeypatch.setattr(Batch, "__init__", seen)
    assert sum(len(chunk.rows) for chunk in _source(kind, tmp_path).open()[1]) == ROWS
    assert max(sizes) <= CHUNK_BYTES + 2 * LETTERS


def test_a_sheet_s_heavy_rows_make_small_chunks(monkeypatch):
    rows = [(number, ["x" * LETTERS, "a"]) for number in range(ROWS)]
    blocks = list(excel._blocks(rows))
    assert max(map(len, blocks)) <= CHUNK_BYTES // LETTERS + 1
    assert [row for block in blocks for row in block] == rows
    assert list(excel._blocks([])) == [[]]
    assert [*map(len, excel._blocks([(0, ["a"])] * 9000))] == [4096, 4096, 808]


def test_heavy_rows_of_the_hub_s_among_light_ones_make_small_chunks(tmp_path):
    datasets = pytest.importorskip("datasets")
    texts = ["a"] * 9000 + ["x" * LETTERS] * ROWS
    datasets.Dataset.from_dict({"text": texts, "label": ["a", "b"] * (len(texts) // 2)}).save_to_disk(tmp_path / "a")
    _, chunks = READERS.components["huggingface"](path=tmp_path / "a", text="text").open()
    assert max(sum(map(len, chunk.payload["text"].to_pylist())) for chunk in chunks) <= CHUNK_BYTES + LETTERS


def test_a_row_beside_a_large_dictionary_is_as_heavy_as_its_own_value(monkeypatch):
    monkeypatch.setattr(readers, "LARGEST_ROW", 1 << 16)
    labels = pa.DictionaryArray.from_arrays(pa.array([7], pa.int32()), pa.array([f"{i:>1000}" for i in range(1000)]))
    batch = pa.record_batch({"label": labels})
    [part] = in_chunks("a.arrow", batch.schema, [batch])
    assert part.table["label"].to_pylist() == [f"{7:>1000}"]
    heavy = pa.record_batch({"label": pa.array(["x" * (1 << 17)]).dictionary_encode()})
    with pytest.raises(BadInput, match="rows of at most"):
        list(in_chunks("a.arrow", heavy.schema, [heavy]))


def test_files_of_heavy_samples_have_small_row_groups_and_the_same_rows(tmp_path, monkeypatch):
    reader = _source("parquet", tmp_path)
    whole = ingest.fn(Run.start(tmp_path / "whole", "a"), reader, Ingestion())
    monkeypatch.setattr(two_passes, "_GROUP_BYTES", 1 << 21)
    parts = ingest.fn(Run.start(tmp_path / "parts", "a"), reader, Ingestion())
    assert [(file.name, file.rows) for file in parts.files] == [(file.name, file.rows) for file in whole.files]
    for file in whole.files:
        paths = [tmp_path / name / made.folder / file.name for name, made in (("whole", whole), ("parts", parts))]
        assert pq.read_table(paths[0]).equals(pq.read_table(paths[1]))
        if file.name == "samples/train-00000.parquet":
            # A group ends with the chunk that fills it.
            assert [pq.ParquetFile(path).num_row_groups for path in paths] == [1, 2]


def test_the_usual_rows_are_read_by_the_thousand():
    assert chunk_rows("a", 100) == 4096
    assert chunk_rows("a", 0) == 4096
    assert chunk_rows("a", 1 << 20) == 16
    assert chunk_rows("a", LARGEST_ROW) == 1


def test_what_is_too_heavy_for_a_row_is_refused(tmp_path):
    (tmp_path / "x").write_bytes(bytes([0, 0, 8, 2]) + np.array([3, 1 << 30], ">u4").tobytes())
    (tmp_path / "y").write_bytes(bytes([0, 0, 8, 1]) + np.array([3], ">u4").tobytes() + bytes(3))
    _, chunks = READERS.components["idx"](images=tmp_path / "x", labels=tmp_path / "y").open()
    with pytest.raises(BadInput, match="rows of at most 256 MiB, got rows of 1,024 MiB"):
        next(iter(chunks))


def test_a_line_that_does_not_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_rows, "_LARGEST", 1000)
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": "b"}\n' + "\0" * 5000)
    with pytest.raises(BadInput, match="line 2: expected lines of at most"):
        READERS.components["jsonl"](path=tmp_path / "a.jsonl", text="text").open()


def test_a_csv_row_that_does_not_end_is_told_as_that(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "a,b\n" * 20 + "x" * (3 << 20) + ",b\n")
    with pytest.raises(BadInput, match="rows of at most 1 MiB, got a longer one"):
        list(READERS.components["csv"](path=tmp_path / "a.csv", text="text").open()[1])
