"""A row that cannot be a sample is set aside with its number and its reason, and takes no other row with it."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.core.errors import TooManyRejects
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.idx import Idx
from tasks.ingestion.readers.image_folder import ImageFolder
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.npz import Npz
from tasks.ingestion.readers.parquet import Parquet

N = 60


def _csv(path: Path, bad: dict[int, str], n: int = N) -> Path:
    rows = [bad.get(i, f"{i},{i / 4},{'xy'[i % 2]}") for i in range(n)]
    path.write_text("\n".join(["a,b,label", *rows]) + "\n")
    return path


def _png(seed: int, size: int = 6) -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size), dtype=np.uint8)).save(out, "PNG")
    return out.getvalue()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("7,1,", "missing label"),
        ("7,1,  ", "missing label"),
        ("7,1,NaN", "missing label"),
        ("7,inf,x", "NaN or infinite"),
        ("7,-Infinity,x", "NaN or infinite"),
        ("7,1e400,x", "NaN or infinite"),
        ("7,many,x", "not a number"),
        ("7,0x10,x", "not a number"),
        ('7,"1,5",x', "not a number"),
        ("7,1", "ragged row"),
        ("7,1,x,9", "ragged row"),
        ("7,1,lonely", "class seen once"),
    ],
)
def test_a_bad_csv_row_is_rejected_with_its_number_and_reason(read, tmp_path, row, reason):
    ingested = read(Csv(path=_csv(tmp_path / "a.csv", {7: row})), max_rejects=0.05)
    assert ingested.reasons == {7: reason}
    assert ingested.rejects["source"].to_pylist() == ["a.csv"]
    assert ingested.column("row") == [i for i in range(N) if i != 7]
    assert ingested.artefact.facts["rejects"] == {reason: 1}


@pytest.mark.parametrize("number", ["+1.5", "1.", ".5", " 2 ", "1E+3", "-0.0", "1e-5"])
def test_every_usual_way_to_write_a_number_is_read(read, tmp_path, number):
    ingested = read(Csv(path=_csv(tmp_path / "a.csv", {7: f"7,{number},x"})))
    assert ingested.rejects.num_rows == 0
    assert ingested.column("b")[7] == float(number)


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_a_number_that_float32_cannot_hold_is_rejected(read, tmp_path, value):
    """Networks see float32: what is finite on disk must be finite there."""
    ingested = read(Csv(path=_csv(tmp_path / "a.csv", {7: f"7,{value!r},x"})))
    assert ingested.reasons == {7: "NaN or infinite"}


def test_a_row_with_two_faults_is_rejected_once(read, tmp_path):
    ingested = read(Csv(path=_csv(tmp_path / "a.csv", {7: "many,inf,"})))
    assert ingested.rejects.num_rows == 1


def test_ragged_rows_do_not_shift_the_numbers_of_the_rows_after_them(read, tmp_path):
    bad = {0: "1", 3: "1,2,x,4", 4: "1,2", 30: "inf,1,x", 31: "1,2,3,4,5", 58: "1,2,"}
    ingested = read(Csv(path=_csv(tmp_path / "a.csv", bad)))
    ragged = dict.fromkeys((0, 3, 4, 31), "ragged row")
    assert ingested.reasons == ragged | {30: "NaN or infinite", 58: "missing label"}
    assert dict(zip(ingested.column("row"), ingested.column("a"), strict=True)) == {
        i: float(i) for i in range(N) if i not in bad
    }


def test_the_last_row_may_be_ragged(read, tmp_path):
    ingested = read(Csv(path=_csv(tmp_path / "a.csv", {N - 1: "1,2"})))
    assert ingested.reasons == {N - 1: "ragged row"}


def test_ragged_rows_are_numbered_across_the_parsers_blocks(read, tmp_path):
    n = 150_000
    bad = {int(i): "1,2" for i in np.random.default_rng(0).choice(n, 40, replace=False)} | {0: "1", n - 1: "1,2,x,4"}
    path = _csv(tmp_path / "a.csv", bad, n)
    assert path.stat().st_size > 2 << 20
    ingested = read(Csv(path=path))
    assert ingested.reasons == dict.fromkeys(bad, "ragged row")
    assert ingested.column("a") == [float(i) for i in ingested.column("row")]
    assert ingested.artefact.facts["rows_read"] == n


def test_a_line_break_within_quotes_does_not_end_a_row(read, tmp_path):
    path = tmp_path / "a.csv"
    rows = [f'{i},"two\nlines",{"xy"[i % 2]}' for i in range(N)]
    rows[9] = "9,ragged"
    path.write_text("\n".join(["a,note,label", *rows]) + "\n")
    ingested = read(Csv(path=path))
    assert ingested.reasons == {9: "ragged row"}
    assert set(ingested.column("note")) == {"two\nlines"}
    assert ingested.column("a") == [float(i) for i in ingested.column("row")]


def test_blank_lines_are_no_rows(read, tmp_path):
    path = _csv(tmp_path / "a.csv", {5: "5,1,x\n\n\n", 9: "9,2", 20: "\n20,1,x"})
    ingested = read(Csv(path=path))
    assert ingested.reasons == {9: "ragged row"}
    assert ingested.column("a") == [float(i) for i in ingested.column("row")]


@pytest.mark.parametrize("late", [False, True], ids=["in the first block", "in a later block"])
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"v": [1, 2], "label": "x"', "malformed line"),
        ("[1, 2]", "malformed line"),
        ('"text"', "malformed line"),
        ('{"v": [1, 2], "label": "\xff"}', "malformed line"),
        ('{"v": [1, 2], "label": null}', "missing label"),
        ('{"v": [1, 2], "label": ""}', "missing label"),
        ('{"v": [1, 2]}', "missing label"),
        ('{"v": [1, 2, 3], "label": "x"}', "wrong length"),
        ('{"v": [], "label": "x"}', "wrong length"),
        ('{"v": null, "label": "x"}', "missing value"),
        ('{"label": "x"}', "missing value"),
        ('{"v": [1, null], "label": "x"}', "NaN or infinite"),
        ('{"v": [1, NaN], "label": "x"}', "NaN or infinite"),
        ('{"v": [1, Infinity], "label": "x"}', "NaN or infinite"),
    ],
)
def test_a_bad_json_line_is_rejected_with_its_number_and_reason(read, tmp_path, line, reason, late):
    n = 4200 if late else N
    lines = [json.dumps({"v": [i, i % 7], "label": "xy"[i % 2]}).encode() for i in range(n)]
    lines[n - 20] = line.encode("latin-1")
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    ingested = read(Jsonl(path=tmp_path / "a.jsonl"))
    assert ingested.reasons == {n - 20: reason}


@pytest.mark.parametrize("late", [False, True], ids=["in the first block", "in a later block"])
@pytest.mark.parametrize("value", ['"many"', "[1, 2, 3]", "{}", '["a", "b"]', "7"])
def test_a_json_value_of_another_type_rejects_its_line(read, tmp_path, value, late):
    n = 4200 if late else N
    lines = [json.dumps({"v": [i, i % 7], "label": "xy"[i % 2]}) for i in range(n)]
    lines[n - 20] = f'{{"v": {value}, "label": "x"}}'
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    ingested = read(Jsonl(path=tmp_path / "a.jsonl", features=["v"]))
    assert list(ingested.reasons) == [n - 20]


@pytest.mark.parametrize("late", [False, True], ids=["in the first block", "in a later block"])
@pytest.mark.parametrize("value", ['"many"', "[1]", "{}", "1e999"])
def test_a_json_number_of_another_type_rejects_its_line(read, tmp_path, value, late):
    n = 4200 if late else N
    lines = [json.dumps({"a": i, "label": "xy"[i % 2]}) for i in range(n)]
    lines[n - 20] = f'{{"a": {value}, "label": "x"}}'
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    ingested = read(Jsonl(path=tmp_path / "a.jsonl", features=["a"]))
    assert list(ingested.reasons) == [n - 20]


def test_a_whole_block_of_malformed_lines_is_rejected_line_by_line(read, tmp_path):
    good = [json.dumps({"a": i, "label": "xy"[i % 2]}) for i in range(4096)]
    (tmp_path / "a.jsonl").write_text("\n".join([*good, *["{"] * 4096, *good[:10]]))
    ingested = read(Jsonl(path=tmp_path / "a.jsonl"))
    assert ingested.reasons == dict.fromkeys(range(4096, 8192), "malformed line")


@pytest.mark.parametrize(
    "line",
    ['{"a": ' + "[" * 100_000, '{"a": ' + "9" * 5000 + ', "label": "x"}', '{"a": 1, "label": "\\ud800"}'],
    ids=["nested too deep", "too many digits", "half a surrogate pair"],
)
def test_json_that_python_chokes_on_rejects_its_line(read, tmp_path, line):
    lines = [json.dumps({"a": i + 0.5, "label": "xy"[i % 2]}) for i in range(N)]
    lines[7] = line
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert list(read(Jsonl(path=tmp_path / "a.jsonl")).reasons) == [7]


def test_an_integer_beyond_floats_rejects_its_line(read, tmp_path):
    lines = [json.dumps({"a": i + 0.5, "label": "xy"[i % 2]}) for i in range(N)]
    lines[7] = json.dumps({"a": 10**400, "label": "x"})
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    assert list(read(Jsonl(path=tmp_path / "a.jsonl")).reasons) == [7]


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("a", {5: float("-inf")}, "NaN or infinite"),
        ("label", {5: None}, "missing label"),
        ("label", {5: "nan"}, "missing label"),
        ("v", {5: None}, "missing value"),
        ("v", {5: [1.0]}, "wrong length"),
        ("v", {5: [1.0, None]}, "NaN or infinite"),
        ("v", {5: [1.0, float("inf")]}, "NaN or infinite"),
        ("part", {5: "holdout"}, "unknown split"),
        ("part", {5: None}, "unknown split"),
    ],
)
def test_a_bad_parquet_row_is_rejected_with_its_number_and_reason(read, tmp_path, column, values, reason):
    columns = {
        "a": [i / 2 for i in range(N)],
        "v": [[float(i), 1.0] for i in range(N)],
        "part": ["train"] * N,
        "label": ["xy"[i % 2] for i in range(N)],
    }
    columns[column] = [values.get(i, value) for i, value in enumerate(columns[column])]
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=4)
    ingested = read(Parquet(path=tmp_path / "a.parquet", split="part"), max_rejects=0.05)
    assert ingested.reasons == {5: reason}
    assert ingested.column("row") == [i for i in range(N) if i != 5]
    assert ingested.column("v") == [[float(i), 1.0] for i in range(N) if i != 5]


def test_a_missing_integer_in_a_list_is_rejected(read, tmp_path):
    vectors = [[i, 1] for i in range(N)]
    vectors[5] = [5, None]
    table = pa.table({"v": pa.array(vectors, pa.list_(pa.int32())), "label": ["xy"[i % 2] for i in range(N)]})
    pq.write_table(table, tmp_path / "a.parquet")
    ingested = read(Parquet(path=tmp_path / "a.parquet"))
    assert list(ingested.reasons) == [5]
    assert ingested.column("v") == [[i, 1] for i in range(N) if i != 5]


@pytest.mark.parametrize("item", [None, b"", b"no image", _png(1)[:60]], ids=range(4))
def test_a_bad_image_in_a_column_is_rejected_with_its_number(read, tmp_path, item):
    pictures = [_png(i) for i in range(N)]
    pictures[9] = item
    pq.write_table(pa.table({"img": pictures, "label": ["xy"[i % 2] for i in range(N)]}), tmp_path / "a.parquet")
    ingested = read(Parquet(path=tmp_path / "a.parquet", image="img"), max_rejects=0.05)
    assert ingested.reasons == {9: "missing value" if item is None else "undecodable image"}
    assert ingested.column("img") == [p for i, p in enumerate(pictures) if i != 9]


def test_the_first_image_may_be_the_bad_one(read, tmp_path):
    pictures = [b"no image", None, *[_png(i) for i in range(2, N)]]
    pq.write_table(pa.table({"img": pictures, "label": ["xy"[i % 2] for i in range(N)]}), tmp_path / "a.parquet")
    ingested = read(Parquet(path=tmp_path / "a.parquet", image="img"))
    assert ingested.reasons == {0: "undecodable image", 1: "missing value"}


def test_an_image_of_another_size_is_resized(read, tmp_path):
    pictures = [_png(i) for i in range(N - 1)] + [_png(1, size=7)]
    pq.write_table(pa.table({"img": pictures, "label": ["xy"[i % 2] for i in range(N)]}), tmp_path / "a.parquet")
    ingested = read(Parquet(path=tmp_path / "a.parquet", image="img"))
    assert ingested.column("img") == pictures
    assert any("pictures of 6×6 to 7×7 pixels are read as 6×6" in note for note in ingested.artefact.facts["notes"])


@pytest.mark.parametrize("content", [b"", b"Thumbs", _png(1)[:60]], ids=range(3))
def test_a_bad_image_file_is_rejected_and_named(read, tmp_path, content):
    for i in range(N):
        path = tmp_path / "root" / "xy"[i % 2] / f"{i:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if i == 4 else _png(i))
    ingested = read(ImageFolder(path=tmp_path / "root"), max_rejects=0.05)
    assert ingested.reasons == {2: "undecodable image"}  # in the order of names: x/00 x/02 x/04
    assert "x/04.png" in ingested.rejects["detail"][0].as_py()
    assert ingested.samples.num_rows == N - 1


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["npz", "idx"])
def test_a_float_array_row_that_is_not_finite_is_rejected(read, tmp_path, kind, value):
    import struct

    x, y = np.arange(N * 3, dtype=np.float32).reshape(N, 3), (np.arange(N) % 2).astype(np.uint8)
    x[11, 1] = value
    if kind == "npz":
        np.savez(tmp_path / "a.npz", x=x, y=y)
        reader = Npz(path=tmp_path / "a.npz")
    else:
        (tmp_path / "x").write_bytes(struct.pack(">HBBII", 0, 13, 2, N, 3) + x.astype(">f4").tobytes())
        (tmp_path / "y").write_bytes(struct.pack(">HBBI", 0, 8, 1, N) + y.tobytes())
        reader = Idx(images=tmp_path / "x", labels=tmp_path / "y")
    ingested = read(reader)
    assert ingested.reasons == {11: "NaN or infinite"}
    assert ingested.samples.num_rows == N - 1


def test_an_empty_text_label_in_npz_is_missing(read, tmp_path):
    y = np.array(["x", "y"] * (N // 2))
    y[:2] = ""
    np.savez(tmp_path / "a.npz", x=np.arange(N * 3.0).reshape(N, 3), y=y)
    assert read(Npz(path=tmp_path / "a.npz")).reasons == {0: "missing label", 1: "missing label"}


def test_a_hub_label_of_minus_one_or_none_is_missing(read, tmp_path):
    datasets = pytest.importorskip("datasets")
    from tasks.ingestion.readers.huggingface import HuggingFace

    features = datasets.Features({"a": datasets.Value("float32"), "label": datasets.ClassLabel(names=["x", "y"])})
    labels = [-1, None, *[i % 2 for i in range(2, N)]]
    rows = {"a": [float(i) for i in range(N)], "label": labels}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(str(tmp_path / "hub"))
    assert read(HuggingFace(path=tmp_path / "hub", features=["a"])).reasons == {0: "missing label", 1: "missing label"}


def test_rejects_of_one_file_name_that_file(read, tmp_path):
    (tmp_path / "parts").mkdir()
    _csv(tmp_path / "parts" / "0.csv", {3: "1,inf,x"})
    _csv(tmp_path / "parts" / "1.csv", {5: "1,2"})
    ingested = read(Csv(path=tmp_path / "parts"))
    found = [(row["source"], row["row"], row["reason"]) for row in ingested.rejects.to_pylist()]
    assert found == [("0.csv", 3, "NaN or infinite"), ("1.csv", 5, "ragged row")]


def test_too_many_rejects_are_counted_by_reason_and_kept_in_a_file(read, tmp_path):
    bad = dict.fromkeys((3, 4, 5), "1,2") | {9: "1,many,x", 10: "1,2,"}
    path = _csv(tmp_path / "a.csv", bad)
    with pytest.raises(TooManyRejects) as caught:
        read(Csv(path=path), max_rejects=3 / N)
    error = caught.value
    assert "ragged row 3" in error.got
    assert "not a number 1" in error.got
    assert "missing label 1" in error.got
    assert error.got.startswith("5 (8.3%)")
    assert error.expected
    assert error.do
    kept = pq.read_table(error.where)
    assert kept["row"].to_pylist() == sorted(bad)
    assert set(kept["source"].to_pylist()) == {"a.csv"}
    # As many as are allowed are allowed; one of the five is not broken, and only has no label.
    assert read(Csv(path=path), max_rejects=4 / N).rejects.num_rows == 5


@pytest.mark.parametrize(
    ("unlabelled", "max_rejects", "runs"), [(0.4, 0.05, True), (0.6, 0.05, False), (0.1, 0, False)]
)
def test_rows_without_a_label_are_left_out_unless_they_are_most(read, tmp_path, unlabelled, max_rejects, runs):
    path = _csv(tmp_path / "a.csv", {row: f"{row},2," for row in range(round(unlabelled * N))})
    if runs:
        assert set(read(Csv(path=path), max_rejects=max_rejects).reasons.values()) == {"missing label"}
    else:
        with pytest.raises(TooManyRejects, match="missing label"):
            read(Csv(path=path), max_rejects=max_rejects)


def test_ragged_rows_found_while_a_batch_is_being_used_are_not_lost(tmp_path):
    """The parser reads ahead: a slow consumer must get every rejected row, exactly once."""
    import time

    n = 400_000
    bad = {int(i): "1,2" for i in np.random.default_rng(1).choice(n, 60, replace=False)}
    path = _csv(tmp_path / "a.csv", bad, n)
    found = []
    for batch in Csv(path=path).batches(path):
        found += [reject.row for reject in batch.rejects]
        time.sleep(0.05)
    assert sorted(found) == sorted(bad)
