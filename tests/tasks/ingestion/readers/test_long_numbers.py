"""Whole numbers that a float does not hold keep every digit, unless they are inputs."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.dataset.payload import payload_of
from tasks.ingestion.readers.parquet import Parquet
from tests.support.written_tables import csv_of, jsonl_of, parquet_of

N = 24
LONG = 2**53 + 1
"""The first whole number that no float64 is."""
CLASSES = [LONG + 2 * (i % 2) for i in range(N)]
SIZES = [i * i % 7 + 0.5 for i in range(N)]
FORMATS = pytest.mark.parametrize("write", [csv_of, jsonl_of, parquet_of])


def digits(values: list) -> list[str]:
    return [str(value) for value in values]


@FORMATS
def test_ids_groups_labels_and_carried_columns_keep_every_digit(read, tmp_path, write):
    ids = [LONG + 3 * i * i for i in range(N)]
    table = pa.table({"label": CLASSES, "size": SIZES, "key": ids, "site": ids[:6] * 4, "other": ids[::-1]})
    ingested = read(write(tmp_path, table, id="key", group="site", features=["size"]))
    assert ingested.column("source_id") == digits(ids)
    assert ingested.column("group") == digits(ids[:6] * 4)
    assert ingested.column("label") == digits(CLASSES)
    assert digits(ingested.column("other")) == digits(ids[::-1])


@FORMATS
@pytest.mark.parametrize("rows", [N, 4200])
def test_ids_that_nobody_named_are_known_by_their_last_digit(read, tmp_path, write, rows):
    # More than 4,096 different values are asked of the spool, fewer of what is held of them.
    repeat = range(rows)
    table = pa.table(
        {
            "label": [CLASSES[i % N] for i in repeat],
            "size": [SIZES[i % N] for i in repeat],
            "tweet_id": [LONG + i + i // 9 for i in repeat],
            "place": [LONG + i * 7919 % rows for i in repeat],
        }
    )
    ingested = read(write(tmp_path, table))
    assert payload_of(ingested.artefact).columns == ("size",)
    told = pq.read_table(next(p for p in ingested.run.paths(ingested.artefact) if p.name == "columns.parquet"))
    about = {row["name"]: (row["role"], row["distinct_values"]) for row in told.to_pylist()}
    assert (about["tweet_id"], about["place"]) == (("id", rows), ("index", rows))
    for name in ("tweet_id", "place"):
        assert digits(ingested.column(name)) == digits(table[name].to_pylist())


@pytest.mark.parametrize("later", [pa.int32(), pa.float64()])
def test_files_of_several_types_lose_no_digit_of_a_carried_column(read, tmp_path, later):
    folder = tmp_path / "files"
    folder.mkdir()
    ids = [LONG + 2 * i for i in range(N)]
    for name, key in (("a", pa.array(ids)), ("b", pa.array(range(N), later))):
        sizes = [size + ord(name) for size in SIZES]
        pq.write_table(pa.table({"label": CLASSES, "size": sizes, "key": key}), folder / f"{name}.parquet")
    ingested = read(Parquet(path=folder, features=["size"]))
    assert digits(ingested.column("key")) == digits([*ids, *range(N)])


def test_numbers_that_a_float_holds_stay_numbers_in_files_of_several_types(read, tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    for name, key in (("a", pa.array(range(N))), ("b", pa.array([i + 0.5 for i in range(N)]))):
        sizes = [size + ord(name) for size in SIZES]
        pq.write_table(pa.table({"label": CLASSES, "size": sizes, "key": key}), folder / f"{name}.parquet")
    assert read(Parquet(path=folder, features=["size"])).samples["key"].type == pa.float64()


def test_ids_and_labels_as_floats_are_written_as_whole_numbers(read, tmp_path):
    # What pandas makes of integers once a cell of the column is empty.
    table = pa.table(
        {
            "label": [1e11 if i % 2 else 3.0 for i in range(N)],
            "size": SIZES,
            "key": [None, *(123456789012.0 + i for i in range(1, N))],
        }
    )
    ingested = read(parquet_of(tmp_path, table, id="key"))
    assert set(ingested.column("label")) == {"3", "100000000000"}
    assert ingested.column("source_id") == [None, *(str(123456789012 + i) for i in range(1, N))]


def test_a_sheet_that_has_cut_digits_is_told(read, tmp_path):
    pytest.importorskip("python_calamine")
    openpyxl = pytest.importorskip("openpyxl")
    from tasks.ingestion.readers.excel import Excel

    book = openpyxl.Workbook()
    book.active.append(["label", "size", "key", "written"])
    for i in range(N):
        book.active.append([CLASSES[i] % 100, SIZES[i] * 1e20, LONG + i, str(LONG + i)])
    book.save(tmp_path / "a.xlsx")
    ingested = read(Excel(path=tmp_path / "a.xlsx", id="key"))
    assert ingested.column("written") == [str(LONG + i) for i in range(N)]
    (note,) = ingested.artefact.facts["notes"]
    assert note.startswith("a.xlsx, column key: a sheet keeps 15 digits of a number")
