"""Rows that repeat or explain the header are no samples: they are rejected, and spoil neither labels nor columns."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest

from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.excel import Excel
from tasks.ingestion.tables.header_rows import AGAIN, BELOW, without_header_rows
from tasks.ingestion.tables.table_rows import Batch

ROWS = [f"{20 + i},2024-01-{i % 28 + 1:02d},{'mf'[i % 2]},{'yes' if i % 3 else 'no'}" for i in range(30)]
NAMES = "age,day,sex,smokes"
QUESTION = "How old are you?,Date of the interview,Your sex,Do you smoke?"
CODES = '"{""ImportId"":""QID1""}","{""ImportId"":""QID2""}","{""ImportId"":""QID3""}","{""ImportId"":""QID4""}"'


def _csv(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return Csv(path=path, label="smokes")


def _kinds(seen):
    return {column.name: column.kind for column in seen.columns}


PLAIN = {"smokes": "class", "age": "number", "day": "date", "sex": "category"}


@pytest.mark.parametrize(
    "below", [[QUESTION], [QUESTION, CODES], ["years,date,,yes or no"]], ids=["one", "two", "units"]
)
def test_rows_that_explain_the_header_are_rejected_and_leave_the_columns_what_they_are(tmp_path, below):
    seen = inspect(_csv(tmp_path / "survey.csv", NAMES, *below, *ROWS))
    assert (_kinds(seen), seen.rejects) == (PLAIN, {BELOW: len(below)})
    assert seen.labels == Counter(yes=20, no=10)


def test_a_first_row_that_lacks_its_one_number_is_a_row_as_any_other(tmp_path):
    """Words above one column of numbers: its class comes again after two hundred rows."""
    rows = [f"question {i} please,{i},c{i % 300}" for i in range(600)]
    path = tmp_path / "calls.csv"
    path.write_text("\n".join(["text,calls,label", "where is my card please,none yet,c299", *rows]))
    assert BELOW not in inspect(Csv(path=path, text="text")).rejects


def test_headers_of_files_put_one_behind_the_other_are_no_class(read, tmp_path):
    lines = [f"text {i},{'ab'[i % 2]}" for i in range(30)]
    path = tmp_path / "all.csv"
    path.write_text("\n".join(["text,label", *lines[:10], "text,label", *lines[10:20], "text,label", *lines[20:]]))
    data = read(Csv(path=path, text="text"))
    assert set(data.column("label")) == {"a", "b"}
    assert data.reasons == {10: AGAIN, 21: AGAIN}
    assert data.column("row") == [row for row in range(32) if row not in (10, 21)]


def test_a_question_row_of_a_sheet_is_rejected_too(tmp_path):
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for line in [NAMES, QUESTION, *ROWS]:
        book.active.append([int(cell) if cell.isdigit() else cell for cell in line.split(",")])
    book.save(tmp_path / "survey.xlsx")
    seen = inspect(Excel(path=tmp_path / "survey.xlsx", label="smokes"))
    assert (_kinds(seen), seen.rejects) == (PLAIN, {BELOW: 1})


@pytest.mark.parametrize(
    "row",
    [
        "unknown,2024-01-05,m,yes",  # one cell went wrong
        "unknown,never,m,yes",  # the others stand again
        "n/k,,,",  # nothing else is said
        "one,two,three,4",
    ],
)
def test_a_row_with_cells_that_went_wrong_is_no_header(row):
    table = pa.RecordBatch.from_arrays(
        [pa.array(column) for column in zip(*(line.split(",") for line in [row, *ROWS]), strict=True)],
        names=NAMES.split(","),
    )
    batch = Batch("a.csv", table, pa.array(range(31)).to_numpy())
    (same,) = without_header_rows([batch], ("NA",))
    assert same.table.num_rows == 31
    assert not same.rejects
