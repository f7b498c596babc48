"""What stands in some cells of a column and is none of its values is told with the option that says so."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tasks.dataset.encoders import cells
from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers.csv import Csv

N = 60


def _columns(tmp_path, values, **options):
    rows = "".join(f'"{values[i % len(values)]}",{i * i},{"ab"[i % 2]}\n' for i in range(N))
    (tmp_path / "a.csv").write_text(f"x,y,label\n{rows}")
    seen = inspect(Csv(path=tmp_path / "a.csv", **options))
    return {column.name: column for column in seen.columns}, seen


@pytest.mark.parametrize("word", ["#DIV/0!", "\\N", "missing", "."])
def test_words_among_numbers_are_told_and_are_no_values_where_the_option_lists_them(tmp_path, word):
    values = [word, *(f"{i / 8}" for i in range(3, 8))]
    columns, _ = _columns(tmp_path, values)
    assert f"10 of 60 cells are no numbers ({word!r})" in columns["x"].why
    columns, seen = _columns(tmp_path, values, missing=[word])
    assert (columns["x"].kind, columns["x"].missing, seen.rejects) == ("number", 10, {})


def test_many_words_among_numbers_are_no_marks(tmp_path):
    values = [*(f"{i / 8}" for i in range(22)), *(f"a{i}" for i in range(8))]
    assert "no numbers" not in _columns(tmp_path, values)[0]["x"].why


def test_dates_in_two_orders_are_told(tmp_path):
    columns, _ = _columns(tmp_path, ["13/01/2024", "01/13/2024"])
    assert (columns["x"].kind, columns["x"].why.endswith("not all in one order of day, month and year")) == (
        "category",
        True,
    )


def test_seasons_are_no_months(tmp_path):
    assert _columns(tmp_path, ["2008-09", "2009-10", "2010-11"])[0]["x"].kind == "category"
    assert _columns(tmp_path, ["2008-09", "2009-10", "2010-03"])[0]["x"].kind == "date"


@pytest.mark.parametrize(
    "written",
    ["13 Jan 2024", "13JAN2024", "13-Jan-2024", "Jan 13, 2024", "January 13 2024", "13 January 2024"],
)
def test_dates_with_the_name_of_the_month_are_dates(tmp_path, written):
    values = [written, written.replace("13", "27")]
    column = _columns(tmp_path, values)[0]["x"]
    assert (column.kind, column.why) == ("date", "as its parts")
    seconds = cells.dates(pa.array(values), column.form).cast(pa.int64()).to_pylist()
    assert seconds == [1_705_104_000, 1_706_313_600]


def test_months_are_dates_and_codes_are_none(tmp_path):
    assert _columns(tmp_path, ["2024-01", "2023-12"])[0]["x"].kind == "date"
    assert _columns(tmp_path, ["2024-13", "2023-12"])[0]["x"].kind == "category"


def test_splits_of_other_names_are_counted_with_the_names_that_are_known(tmp_path):
    (tmp_path / "a.csv").write_text("x,use,label\n" + "".join(f"{i},{i % 2},{'ab'[i % 2]}\n" for i in range(0, N, 3)))
    seen = inspect(Csv(path=tmp_path / "a.csv", split="use"))
    assert seen.rejects == {"unknown split": 20}
    assert seen.examples["unknown split"].startswith("0, 1: none of train, ")
