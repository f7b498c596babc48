"""A folder of tables: its names say splits and columns; test files may differ in what nobody learns from."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadInput
from tasks.dataset.payload import payload_of
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.parquet import Parquet

N = 24


def _csv(path, first=0, header="a,label,name", n=N, order=(0, 1, 2)):
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [(str(i), "xy"[i % 2], f"n{i}") for i in range(first, first + n)]
    path.write_text(header + "\n" + "".join(",".join(row[i] for i in order) + "\n" for row in rows))


def _splits(ingested) -> dict[str, set[str]]:
    splits: dict[str, set[str]] = {}
    for source, split in zip(ingested.column("source"), ingested.column("split"), strict=True):
        splits.setdefault(source, set()).add(split)
    return splits


def _notes(ingested) -> str:
    return " ".join(ingested.artefact.facts.get("notes", []))


def test_files_named_for_their_splits_are_never_one_pot(read, tmp_path):
    root = tmp_path / "data"
    for place, name in enumerate(("train.csv", "test.csv", "val.csv")):
        _csv(root / name, 100 * place)
    ingested = read(Csv(path=root))
    assert _splits(ingested) == {"train.csv": {"train"}, "test.csv": {"test"}, "val.csv": {"validation"}}
    assert "train: train.csv; validation: val.csv; test: test.csv" in _notes(ingested)


def test_folders_named_for_their_splits_too(read, tmp_path):
    for place, name in enumerate(("train", "test")):
        _csv(tmp_path / "data" / name / "0.csv", 100 * place)
    ingested = read(Csv(path=tmp_path / "data"))
    assert _splits(ingested) == {"train/0.csv": {"train"}, "test/0.csv": {"test"}}


def test_a_column_that_says_the_split_counts_instead(read, tmp_path):
    (tmp_path / "data").mkdir()
    for name in ("train.csv", "test.csv"):
        rows = [f"{len(name) * i},{'xy'[i % 2]},{'test' if i % 3 == 0 else 'train'}\n" for i in range(N)]
        (tmp_path / "data" / name).write_text("a,label,part\n" + "".join(rows))
    splits = _splits(read(Csv(path=tmp_path / "data", split="part")))
    assert splits == {"train.csv": {"train", "test"}, "test.csv": {"train", "test"}}


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet"])
def test_a_test_file_without_labels_is_named_and_left_out(read, tmp_path, kind):
    root = tmp_path / "data"
    root.mkdir()
    rows = [{"a": i * i, "label": "xy"[i % 2]} for i in range(N)]
    for name, own in (("train", rows), ("test", [{"a": row["a"]} for row in rows])):
        if kind == "csv":
            pa.csv.write_csv(pa.Table.from_pylist(own), root / f"{name}.csv")
        elif kind == "jsonl":
            (root / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in own))
        else:
            pq.write_table(pa.Table.from_pylist(own), root / f"{name}.parquet")
    ingested = read({"csv": Csv, "jsonl": Jsonl, "parquet": Parquet}[kind](path=root))
    assert _splits(ingested) == {f"train.{kind}": {"train", "test"}}
    assert f"left out test.{kind}: no labels in a column 'label' (--reader.test-label)" in _notes(ingested)


@pytest.mark.parametrize("nothing", [None, -1])
def test_a_test_file_whose_labels_say_nothing_has_none(read, tmp_path, nothing):
    (tmp_path / "data").mkdir()
    for name, labels in (("train", [0, 1]), ("test", [nothing, nothing])):
        table = pa.table({"a": [i * i for i in range(N)], "label": pa.array(labels * (N // 2), pa.int64())})
        pq.write_table(table, tmp_path / "data" / f"{name}-00000-of-00001.parquet")
    ingested = read(Parquet(path=tmp_path / "data"))
    assert ingested.samples.num_rows == N
    assert "left out test-00000-of-00001.parquet" in _notes(ingested)


@pytest.mark.parametrize("as_option", [True, False])
def test_the_labels_of_test_files_may_have_another_name(read, tmp_path, as_option):
    root = tmp_path / "data"
    _csv(root / "train.csv")
    _csv(tmp_path / "far.csv" if as_option else root / "test.csv", 100, "a,truth,label")
    reader = Csv(path=root, test_label="truth", test_path=tmp_path / "far.csv" if as_option else None)
    ingested = read(reader)
    assert set(ingested.column("label")) == {"x", "y"}
    assert ingested.artefact.facts["splits"] == {"train": N, "validation": 0, "test": N}


def test_a_test_file_may_lack_what_is_carried_and_have_another_order(read, tmp_path):
    _csv(tmp_path / "a.csv")
    _csv(tmp_path / "b.csv", 100, "label,a", order=(1, 0))
    ingested = read(Csv(path=tmp_path / "a.csv", test_path=tmp_path / "b.csv"))
    assert ingested.column("name") == [*(f"n{i}" for i in range(N)), *[None] * N]
    _csv(tmp_path / "c.csv", 100, "label,name", order=(1, 2))
    with pytest.raises(BadInput, match="columns a, as the first file has"):
        read(Csv(path=tmp_path / "a.csv", test_path=tmp_path / "c.csv"))


def test_what_all_files_have_is_named_as_it_would_be_typed(read, tmp_path):
    _csv(tmp_path / "a.csv", header="a,label,b")
    text = (tmp_path / "a.csv").read_text().replace("n", "")
    (tmp_path / "a.csv").write_text(text)
    _csv(tmp_path / "b.csv", header="a,label,name")
    with pytest.raises(BadInput, match=r"--reader.features a\."):
        read(Csv(path=tmp_path / "a.csv", test_path=tmp_path / "b.csv"))


def test_a_class_that_train_lacks_says_so(read, tmp_path):
    _csv(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("a,label\n100,x\n101,quince\n102,quince\n")
    ingested = read(Csv(path=tmp_path / "a.csv", test_path=tmp_path / "b.csv"))
    assert ingested.reasons == {1: "class not in train", 2: "class not in train"}


def _hive(root, **partitions):
    for key, rows in partitions.items():
        path = root / key.replace("__", "=") / "part-0.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(pa.Table.from_pylist(rows), path)
    return root


def test_partitions_are_columns_and_may_be_the_label(read, tmp_path):
    root = _hive(tmp_path / "by", kind__x=[{"a": i} for i in range(N)], kind__y=[{"a": 100 + i} for i in range(N)])
    ingested = read(Parquet(path=root, label="kind"))
    assert ingested.artefact.facts["classes"] == ["x", "y"]
    assert set(ingested.column("source")) == {"kind=x/part-0.parquet", "kind=y/part-0.parquet"}


def test_a_partition_of_numbers_is_an_input(read, tmp_path):
    rows = [{"a": i * i, "label": "xy"[i % 2]} for i in range(N)]
    root = _hive(tmp_path / "by", year__2020=rows, year__2021=rows)
    ingested = read(Parquet(path=root))
    assert payload_of(ingested.artefact).columns == ("a", "year")
    assert ingested.column("year") == [2020] * N + [2021] * N
    before = Parquet(path=root).fingerprint()
    (root / "year=2021").rename(root / "year=2022")
    assert Parquet(path=root).fingerprint() != before


def test_names_that_sql_takes_for_one_are_told_apart(read, tmp_path):
    rows = [{"a": i, "A": i + 0.5, "Row": -i, "label": "xy"[i % 2]} for i in range(N)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
    ingested = read(Parquet(path=tmp_path / "a.parquet"))
    assert ingested.column("A_2") == [i + 0.5 for i in range(N)]
    assert ingested.column("original_Row") == [-i for i in range(N)]
    assert "A as A_2, Row as original_Row" in _notes(ingested)
    names = [name.lower() for name in ingested.samples.schema.names]
    assert len(set(names)) == len(names)
    with pytest.raises(BadInput, match="differ in case alone"):
        read(Parquet(path=tmp_path / "a.parquet", features=["a", "A"]))
    assert read(Parquet(path=tmp_path / "a.parquet", features=["A"])).column("a_2") == list(range(N))
