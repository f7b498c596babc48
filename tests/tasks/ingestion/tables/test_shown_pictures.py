"""Beside embeddings pictures are shown: bytes in the column image, whatever the source calls them, and no input."""

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.dataset.payload import payload_of
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run


def encoded(index, size=(30, 20)):
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(index).integers(0, 256, (size[1], size[0], 3), np.uint8)).save(sink, "PNG")
    return sink.getvalue()


def ingested(tmp_path, **columns):
    n = 40
    x = np.random.default_rng(0).normal(size=(n, 4)).astype(np.float32)
    embedding = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 4)
    table = pa.table({"embedding": embedding, "label": ["a", "b"] * (n // 2), **columns})
    pq.write_table(table, tmp_path / "t.parquet")
    (name,) = columns
    run = Run.start(tmp_path / "lake", "shown")
    reader = Parquet(path=tmp_path / "t.parquet", features=["embedding"], image=name, test_share=0)
    samples = ingest.fn(run, reader, Ingestion())
    (file,) = [file for file in samples.files if file.name.startswith("samples/")]
    return samples, pq.read_table(run.path(samples, file))


@pytest.mark.parametrize("name", ["image", "picture"])
def test_paths_become_the_pictures_that_they_name(tmp_path, name):
    (tmp_path / "images").mkdir()
    for index in range(40):
        (tmp_path / "images" / f"{index}.png").write_bytes(encoded(index))
    samples, table = ingested(tmp_path, **{name: [f"{index}.png" for index in range(40)]})
    assert payload_of(samples).columns == ("embedding",)
    paths = table["image_path" if name == "image" else name].to_pylist()
    assert table["image"].to_pylist() == [encoded(int(path.removesuffix(".png"))) for path in paths]
    # A person looks for the file, and a page shows its name.
    assert table["source_id"].to_pylist() == paths


def test_bytes_stay_and_large_ones_become_smaller(tmp_path):
    _, table = ingested(tmp_path, photo=pa.array([encoded(i, (1300, 700) if i == 1 else (30, 20)) for i in range(40)]))
    sizes = {Image.open(io.BytesIO(data)).size for data in table["image"].to_pylist()}
    assert sizes == {(30, 20), (640, 345)}


def test_a_large_jpeg_becomes_smaller_also_where_it_is_decoded_just_as_small_as_what_is_kept(tmp_path):
    sink = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (2560, 2560, 3), np.uint8)).save(sink, "JPEG")
    _, table = ingested(tmp_path, photo=[sink.getvalue()] + [encoded(i) for i in range(39)])
    assert max(map(len, table["image"].to_pylist())) < 300_000
    assert (640, 640) in {Image.open(io.BytesIO(data)).size for data in table["image"].to_pylist()}


def test_a_missing_picture_costs_no_row_and_is_counted(tmp_path):
    samples, table = ingested(tmp_path, photo=[encoded(0), b"no picture", None] + [encoded(i) for i in range(37)])
    assert table.num_rows == 40
    assert table["image"].null_count == 2
    assert any("2 pictures to be shown are missing (column photo" in note for note in samples.facts["notes"])
