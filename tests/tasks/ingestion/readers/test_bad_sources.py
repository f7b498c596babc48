"""A source that is no dataset is refused before anything is trained: what was expected, what came, what to do."""

from __future__ import annotations

import gzip
import io
import json
import random
import struct
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.core.errors import BadInput, GradsieveError
from tasks.ingestion.readers import READERS, Reader
from tasks.ingestion.readers.arrow import Arrow
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.excel import Excel
from tasks.ingestion.readers.huggingface import HuggingFace
from tasks.ingestion.readers.idx import Idx
from tasks.ingestion.readers.image_folder import ImageFolder
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.npz import Npz
from tasks.ingestion.readers.parquet import Parquet

N = 40
TABLE = pa.table({"a": [i / 2 for i in range(N)], "label": ["xy"[i % 2] for i in range(N)]})
# Readers that have no source to be missing.
TABULAR = {"csv": Csv, "excel": Excel, "jsonl": Jsonl, "parquet": Parquet, "arrow": Arrow}
NEEDS = {"excel": "python_calamine", "huggingface": "datasets"}


def _write_sheet(path: Path, table: pa.Table) -> None:
    pytest.importorskip("python_calamine")
    book = pytest.importorskip("openpyxl").Workbook()
    for row in [table.column_names, *(list(row.values()) for row in table.to_pylist())]:
        book.active.append(row)
    book.save(path)


def _write(kind: str, path: Path, table: pa.Table = TABLE) -> Path:
    if kind == "csv":
        rows = [",".join("" if v is None else str(v) for v in row.values()) for row in table.to_pylist()]
        path.write_text("\n".join([",".join(table.column_names), *rows]) + "\n")
    elif kind == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    elif kind == "excel":
        _write_sheet(path, table)
    elif kind == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    return path


def _idx(array: np.ndarray, code: int = 8) -> bytes:
    return struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape) + array.tobytes()


def _idx_pair(folder: Path, images: bytes | None = None, labels: bytes | None = None) -> Idx:
    x = np.arange(N * 4, dtype=np.uint8).reshape(N, 2, 2)
    (folder / "x").write_bytes(_idx(x) if images is None else images)
    (folder / "y").write_bytes(_idx((np.arange(N) % 2).astype(np.uint8)) if labels is None else labels)
    return Idx(images=folder / "x", labels=folder / "y")


def _refused(read, reader: Reader) -> BadInput:
    with pytest.raises(BadInput) as caught:
        read(reader)
    error = caught.value
    assert error.where
    assert error.expected
    assert error.got
    assert error.do
    assert error.exit_code == 3
    return error


# Without a file, or of a table by its name, whose own tests say what is missing.
ELSEWHERE = ("digits", "huggingface", "delta", "iceberg", "lance")


@pytest.mark.parametrize("kind", [kind for kind in READERS.components if kind not in ELSEWHERE])
def test_a_missing_file_is_named_with_what_lies_beside_it(read, tmp_path, kind):
    (tmp_path / "neighbour.txt").write_text("")
    missing = tmp_path / "missing"
    options = {"images": missing, "labels": missing} if kind == "idx" else {"path": missing}
    error = _refused(read, READERS.components[kind](**options))
    assert error.where == str(missing)
    assert "no such file" in error.got
    assert "neighbour.txt" in error.got


@pytest.mark.parametrize("kind", TABULAR)
def test_a_missing_test_file_is_found_before_anything_is_trained(read, tmp_path, kind):
    path = _write(kind, tmp_path / f"a.{kind}")
    error = _refused(read, TABULAR[kind](path=path, test_path=tmp_path / "missing"))
    assert error.where == str(tmp_path / "missing")


@pytest.mark.parametrize("kind", TABULAR)
@pytest.mark.parametrize("role", ["label", "features", "image", "id", "split", "group", "clean_label"])
def test_a_wrong_column_name_suggests_the_nearest(read, tmp_path, kind, role):
    table = TABLE.append_column("category", TABLE["label"])
    path = _write(kind, tmp_path / f"a.{kind}", table)
    error = _refused(read, TABULAR[kind](path=path, **{role: ["categori"] if role == "features" else "categori"}))
    assert error.expected == "a column 'categori'"
    assert "category" in error.got
    assert error.do == f"Did you mean --reader.{role.replace('_', '-')} category?"


@pytest.mark.parametrize("kind", TABULAR)
def test_a_test_file_without_the_label_column_is_refused(read, tmp_path, kind):
    path = _write(kind, tmp_path / f"a.{kind}")
    other = _write(kind, tmp_path / f"b.{kind}", TABLE.rename_columns(["a", "lable"]))
    assert "label" in _refused(read, TABULAR[kind](path=path, test_path=other)).expected


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize("second", ["test_path", "folder"])
def test_a_second_file_without_an_input_column_is_refused(read, tmp_path, kind, second):
    (tmp_path / "parts").mkdir()
    path = _write(kind, tmp_path / "parts" / f"a.{kind}")
    folder = tmp_path if second == "test_path" else tmp_path / "parts"
    other = _write(kind, folder / f"b.{kind}", TABLE.rename_columns(["b", "label"]))
    options = {"path": path, "test_path": other} if second == "test_path" else {"path": tmp_path / "parts"}
    with pytest.raises(GradsieveError):
        read(TABULAR[kind](**options))


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_second_file_with_another_type_is_read_alike_or_refused(read, tmp_path, kind):
    (tmp_path / "parts").mkdir()
    _write(kind, tmp_path / "parts" / f"a.{kind}")
    other = pa.table({"a": pa.array(range(1000, 1000 + N), pa.int32()), "label": TABLE["label"]})
    _write(kind, tmp_path / "parts" / f"b.{kind}", other)
    try:
        ingested = read(TABULAR[kind](path=tmp_path / "parts"))
    except GradsieveError:
        return
    assert ingested.column("a")[N:] == list(range(1000, 1000 + N))


@pytest.mark.parametrize("kind", TABULAR)
def test_a_file_of_no_bytes_is_refused(read, tmp_path, kind):
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    (tmp_path / f"a.{kind}").write_bytes(b"")
    _refused(read, TABULAR[kind](path=tmp_path / f"a.{kind}"))


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
def test_a_file_of_no_rows_is_refused(read, tmp_path, kind):
    _refused(read, TABULAR[kind](path=_write(kind, tmp_path / f"a.{kind}", TABLE.slice(0, 0))))


@pytest.mark.parametrize("content", ["\n\n", "[]", "[1, 2]", "nonsense"])
def test_a_file_without_one_json_object_is_refused(read, tmp_path, content):
    (tmp_path / "a.jsonl").write_text(content)
    _refused(read, Jsonl(path=tmp_path / "a.jsonl"))


@pytest.mark.parametrize("kind", [*TABULAR, "image_folder", "huggingface"])
def test_an_empty_folder_is_refused(read, tmp_path, kind):
    if kind in NEEDS:
        pytest.importorskip(NEEDS[kind])
    (tmp_path / "empty").mkdir()
    _refused(read, READERS.components[kind](path=tmp_path / "empty"))


@pytest.mark.parametrize("kind", ["idx", "npz"])
def test_a_folder_in_a_files_place_is_refused(read, tmp_path, kind):
    (tmp_path / "folder").mkdir()
    options = {"images": tmp_path / "folder", "labels": tmp_path / "folder"}
    _refused(read, READERS.components[kind](**(options if kind == "idx" else {"path": tmp_path / "folder"})))


@pytest.mark.parametrize("kind", TABULAR)
def test_one_class_is_refused(read, tmp_path, kind):
    table = pa.table({"a": TABLE["a"], "label": ["only"] * N})
    error = _refused(read, TABULAR[kind](path=_write(kind, tmp_path / f"a.{kind}", table)))
    assert "two classes" in error.expected
    assert "only" in error.got


@pytest.mark.parametrize("kind", TABULAR)
def test_no_label_at_all_is_refused(read, tmp_path, kind):
    table = pa.table({"a": TABLE["a"], "label": pa.nulls(N, pa.string())})
    _refused(read, TABULAR[kind](path=_write(kind, tmp_path / f"a.{kind}", table)))


@pytest.mark.parametrize("kind", TABULAR)
@pytest.mark.parametrize("hole", [False, True], ids=["every value given", "one value missing"])
def test_a_label_column_of_floats_is_refused_as_such(read, tmp_path, kind, hole):
    values = [None if hole and i == 3 else i / 8 for i in range(N)]
    path = _write(kind, tmp_path / f"a.{kind}", pa.table({"a": TABLE["a"], "label": values}))
    error = _refused(read, TABULAR[kind](path=path))
    assert "floats" in error.got
    assert "label" in error.where


def test_a_label_column_of_lists_is_refused(read, tmp_path):
    table = pa.table({"a": TABLE["a"], "label": [[1, 2]] * N})
    assert "list" in _refused(read, Parquet(path=_write("parquet", tmp_path / "a", table))).got


@pytest.mark.parametrize("kind", TABULAR)
def test_a_table_with_nothing_to_learn_from_is_refused(read, tmp_path, kind):
    table = pa.table({"words": [f"text {i}" for i in range(N)], "label": TABLE["label"]})
    error = _refused(read, TABULAR[kind](path=_write(kind, tmp_path / f"a.{kind}", table)))
    assert error.expected == "a column to learn from"
    assert error.got == "none: words (text that differs in every row)"


def test_features_that_no_encoder_serves_are_refused_by_name(read, tmp_path):
    table = pa.table({"tags": [["some"], ["text"]] * (N // 2), "label": TABLE["label"]})
    error = _refused(read, Parquet(path=_write("parquet", tmp_path / "a", table), features=["tags"]))
    assert "'tags'" in error.where
    assert error.got == "lists of string"


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_an_image_column_without_images_is_refused(read, tmp_path, kind):
    table = pa.table({"img": ["a.png"] * N, "label": TABLE["label"]})
    assert "img" in _refused(read, TABULAR[kind](path=_write(kind, tmp_path / f"a.{kind}", table), image="img")).where


def test_a_shape_of_another_size_is_refused(read, tmp_path):
    error = _refused(read, Csv(path=_write("csv", tmp_path / "a.csv"), shape=[1, 8, 8]))
    assert "shape" in error.where
    assert error.got == "1 × 8 × 8"


@pytest.mark.parametrize("kind", TABULAR)
def test_an_input_column_named_like_one_of_ours_is_kept_under_another_name(read, tmp_path, kind):
    path = _write(kind, tmp_path / f"a.{kind}", TABLE.append_column("row", TABLE["a"]))
    ingested = read(TABULAR[kind](path=path, features=["row", "a"]))
    assert ingested.artefact.facts["payload"]["columns"] == ["original_row", "a"]
    assert ingested.column("original_row") == TABLE["a"].to_pylist()


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
def test_two_columns_of_one_name_are_refused(read, tmp_path, kind):
    table = pa.table([TABLE["a"], TABLE["a"], TABLE["label"]], names=["a", "a", "label"])
    if kind == "csv":
        (tmp_path / "a.csv").write_text("a,a,label\n" + "1,2,x\n" * 5 + "3,4,y\n" * 5)
    else:
        _write(kind, tmp_path / f"a.{kind}", table)
    _refused(read, TABULAR[kind](path=tmp_path / f"a.{kind}"))


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
@pytest.mark.parametrize("kind", ["parquet", "arrow", "arrow stream"])
def test_a_truncated_binary_table_is_refused(read, tmp_path, kind, share):
    random = np.random.default_rng(0)
    table = pa.table({"a": random.normal(size=5000), "label": random.choice(["x", "y"], 5000)})
    path = tmp_path / "a"
    if kind == "arrow stream":
        with pa.ipc.new_stream(str(path), table.schema) as writer:
            writer.write_table(table)
    else:
        _write(kind, path, table)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert str(path) in _refused(read, TABULAR[kind.split()[0]](path=path)).where


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
@pytest.mark.parametrize("damage", ["truncated", "broken", "not gzip"])
def test_a_damaged_gzip_of_text_is_refused(read, tmp_path, kind, damage):
    plain = _write(kind, tmp_path / f"a.{kind}").read_bytes()
    packed = gzip.compress(plain, mtime=0)
    middle = len(packed) // 2
    damaged = {
        "truncated": packed[:middle],
        "broken": packed[:middle] + bytes(20) + packed[middle + 20 :],
        "not gzip": plain,
    }
    path = tmp_path / f"b.{kind}.gz"
    path.write_bytes(packed)
    assert read(TABULAR[kind](path=path)).samples.num_rows == N
    path.write_bytes(damaged[damage])
    _refused(read, TABULAR[kind](path=path))


@pytest.mark.parametrize(
    ("options", "content"),
    [
        ({}, "a,label\n1,caf\xe9\n2,y\n".encode("latin-1")),
        ({}, "a,caf\xe9,label\n1,2,x\n2,3,y\n".encode("latin-1")),
        ({"encoding": "ascii"}, "a,label\n1,caf\xe9\n2,y\n".encode()),
        ({"encoding": "utf-16"}, b"a,label\n1,x\n2,y\n\n"),
        ({"encoding": "no-such-encoding"}, b"a,label\n1,x\n2,y\n"),
        ({"delimiter": "\n"}, b"a,label\n1,x\n2,y\n"),
        ({}, b'a,label\n1,"x\n2,y\n'),
    ],
    ids=["cells", "header", "ascii", "utf-16", "unknown encoding", "delimiter", "open quote"],
)
def test_text_in_another_encoding_or_dialect_is_refused(read, tmp_path, options, content):
    (tmp_path / "a.csv").write_bytes(content)
    _refused(read, Csv(path=tmp_path / "a.csv", **options))


def test_text_in_a_named_encoding_is_read(read, tmp_path):
    rows = "".join(f"{i},{('café', 'thé')[i % 2]}\n" for i in range(N))
    (tmp_path / "a.csv").write_bytes(f"a;label\n{rows}".replace(",", ";").encode("latin-1"))
    ingested = read(Csv(path=tmp_path / "a.csv", encoding="latin-1", delimiter=";", features=["a"]))
    assert ingested.artefact.facts["classes"] == ["café", "thé"]


@pytest.mark.parametrize("which", ["images", "labels"])
@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "(none)"),
        (b"\x89PNG....", "89 50"),
        (struct.pack(">HBB", 0, 8, 3) + b"\0\0", "header"),
        (struct.pack(">HBB", 0, 7, 1) + bytes(8), "00 00 07"),
        (gzip.compress(_idx(np.zeros((N, 2, 2), np.uint8)), mtime=0)[:20], "gzip"),
        (b"\x1f\x8b not gzip", "gzip"),
    ],
    ids=["empty", "another format", "cut header", "unknown type", "cut gzip", "no gzip"],
)
def test_what_is_no_idx_file_is_refused(read, tmp_path, which, content, says):
    error = _refused(read, _idx_pair(tmp_path, **{which: content}))
    assert says in error.got
    assert error.where == str(tmp_path / {"images": "x", "labels": "y"}[which])


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
def test_an_idx_file_cut_short_says_how_many_rows_it_has(read, tmp_path, packed):
    content = _idx(np.random.default_rng(0).integers(0, 256, (N, 2, 2), dtype=np.uint8))[:-9]
    error = _refused(read, _idx_pair(tmp_path, images=gzip.compress(content, mtime=0) if packed else content))
    assert f"{N - 3} of the {N} rows" in error.got


def test_idx_files_of_different_counts_are_refused(read, tmp_path):
    error = _refused(read, _idx_pair(tmp_path, labels=_idx(np.zeros(N - 1, np.uint8))))
    assert f"{N} integer labels" in error.expected
    assert str(N - 1) in error.got


def test_idx_labels_that_are_floats_are_refused(read, tmp_path):
    _refused(read, _idx_pair(tmp_path, labels=_idx(np.zeros(N, ">f4"), 13)))


def test_idx_test_files_of_another_shape_or_alone_are_refused(read, tmp_path):
    reader = _idx_pair(tmp_path)
    (tmp_path / "tx").write_bytes(_idx(np.zeros((N, 3, 2), np.uint8)))
    (tmp_path / "ty").write_bytes((tmp_path / "y").read_bytes())
    error = _refused(read, reader.model_copy(update={"test_images": tmp_path / "tx", "test_labels": tmp_path / "ty"}))
    assert error.got == "3 × 2"
    _refused(read, reader.model_copy(update={"test_images": tmp_path / "tx"}))


@pytest.mark.parametrize("axes", [(N, 0), (N, 2**32 - 1, 2**32 - 1), (0, 2, 2)], ids=["none", "absurd", "no rows"])
def test_idx_axes_that_cannot_be_are_refused(read, tmp_path, axes):
    header = struct.pack(f">HBB{len(axes)}I", 0, 8, len(axes), *axes)
    labels = _idx((np.arange(axes[0]) % 2).astype(np.uint8))
    _refused(read, _idx_pair(tmp_path, images=header + bytes(64), labels=labels))


def test_pickled_arrays_are_never_opened(read, tmp_path):
    class Trap:
        def __reduce__(self):
            return Path.touch, (tmp_path / "sprung",)

    for name in ("x", "y"):
        arrays = {"x": np.arange(N * 2.0).reshape(N, 2), "y": np.arange(N) % 2}
        arrays[name] = np.array([Trap() for _ in range(N)], dtype=object)
        np.savez(tmp_path / "a.npz", **arrays)
        _refused(read, Npz(path=tmp_path / "a.npz"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize(
    "arrays",
    [
        {"x": np.zeros((N, 2)), "y": np.zeros(N - 1, int)},
        {"x": np.zeros((N, 2)), "y": np.zeros(N)},
        {"x": np.zeros((N, 2)), "y": np.zeros((N, 2), int)},
        {"x": np.array(["a"] * N), "y": np.zeros(N, int)},
        {"x": np.zeros((N, 2)), "z": np.zeros(N, int)},
        {"x": np.zeros((0, 2)), "y": np.zeros(0, int)},
        {"x": np.zeros((N, 0)), "y": np.arange(N) % 2},
        {"x": np.float64(1), "y": np.int64(1)},
        {"x": np.zeros((N, 2)), "y": np.arange(N) % 2, "x_test": np.zeros((N, 3)), "y_test": np.arange(N) % 2},
        {"x": np.zeros((N, 2)), "y": np.arange(N) % 2, "x_test": np.zeros((N, 2))},
        {"x": np.asfortranarray(np.arange(N * 2.0).reshape(N, 2)), "y": np.arange(N) % 2},
    ],
    ids=[
        "counts differ",
        "float labels",
        "one-hot labels",
        "text inputs",
        "no labels",
        "no rows",
        "no values",
        "scalars",
        "test of another shape",
        "test without labels",
        "Fortran order",
    ],
)
def test_npz_arrays_that_are_no_dataset_are_refused(read, tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    _refused(read, Npz(path=tmp_path / "a.npz"))


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_npz_is_refused(read, tmp_path, share):
    np.savez(tmp_path / "a.npz", x=np.zeros((N, 2)), y=np.arange(N) % 2)
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content[: int(len(content) * share)])
    _refused(read, Npz(path=tmp_path / "a.npz"))


@pytest.mark.parametrize("packed", [False, True], ids=["stored", "deflated"])
@pytest.mark.parametrize("at", [2, 200], ids=["in the header", "in the values"])
def test_an_npz_with_a_flipped_byte_is_refused(read, tmp_path, packed, at):
    x = np.random.default_rng(0).normal(size=(N, 20))
    (np.savez_compressed if packed else np.savez)(tmp_path / "a.npz", x=x, y=np.arange(N) % 2)
    content = bytearray((tmp_path / "a.npz").read_bytes())
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        first = archive.getinfo("x.npy").header_offset
    name, extra = struct.unpack_from("<HH", content, first + 26)
    content[first + 30 + name + extra + at] ^= 0xFF
    (tmp_path / "a.npz").write_bytes(content)
    _refused(read, Npz(path=tmp_path / "a.npz"))


def test_a_zip_member_that_is_no_array_is_refused(read, tmp_path):
    for name in ("x", "x.npy"):
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr(name, b"text")
            out = io.BytesIO()
            np.save(out, np.arange(N) % 2)
            archive.writestr("y.npy", out.getvalue())
        _refused(read, Npz(path=tmp_path / "a.npz"))


def test_an_image_folder_without_class_folders_is_refused(read, tmp_path):
    (tmp_path / "root").mkdir()
    for i in range(3):
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "root" / f"{i}.png")
    assert "3 files and no class folder" in _refused(read, ImageFolder(path=tmp_path / "root")).got


def test_an_image_folder_without_images_is_refused(read, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "root" / name).mkdir(parents=True)
        (tmp_path / "root" / name / "a.txt").write_text("no image")
    _refused(read, ImageFolder(path=tmp_path / "root"))


def test_a_folder_that_no_hub_dataset_lies_in_is_refused(read, tmp_path):
    pytest.importorskip("datasets")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "a.txt").write_text("text")
    assert "save_to_disk" in _refused(read, HuggingFace(path=tmp_path / "folder")).do


def test_a_hub_dataset_without_a_split_of_a_known_name_is_refused(read, tmp_path):
    datasets = pytest.importorskip("datasets")
    part = datasets.Dataset.from_dict({"a": [1.0, 2.0], "label": ["x", "y"]})
    datasets.DatasetDict({"one": part, "extra": part}).save_to_disk(str(tmp_path / "hub"))
    refused = _refused(read, HuggingFace(path=tmp_path / "hub"))
    assert (refused.got, "--reader.splits" in refused.do) == ("one, extra", True)
    _refused(read, HuggingFace(path=tmp_path / "hub", splits=["train"]))


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_whatever_bit_of_an_arrow_file_is_flipped_the_process_lives_and_reads_or_refuses(tmp_path, compression):
    """Indices and offsets that lead out of the file crashed the writer of the spool."""
    n, path = 30, tmp_path / "a.arrow"
    words = pa.array([f"w{i % 7}" for i in range(n)])
    columns = {"x": pa.array(np.arange(n) / 7), "word": words, "colour": words.dictionary_encode(), "y": words}
    table = pa.table({**columns, "list": pa.array([list(range(i % 4)) for i in range(n)])})
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema, options=options) as writer:
        writer.write_table(table)
    whole, draw, refused = path.read_bytes(), random.Random(0), 0
    for _ in range(150):
        data = bytearray(whole)
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        try:
            for batch in Arrow(path=path, label="y").batches(path):
                # What the spool does with them.
                pq.write_table(pa.Table.from_batches([batch.table]), tmp_path / "spool.parquet")
        except BadInput:
            refused += 1
    assert refused > 30
