"""A survey's codes for no answer, 99 or -9, are missing values where the option says so, in every format; else told."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.parquet import Parquet

N = 40
AGES = [99 if i % 4 == 0 else 20 + i % 3 for i in range(N)]
RATES = [-9.0 if i % 5 == 0 else i / 8 for i in range(N)]
TABLE = pa.table({"age": AGES, "rate": RATES, "x": range(0, 2 * N, 2), "label": ["a", "b"] * (N // 2)})


def _reader(path, form, table=TABLE, **options):
    path = path / f"a.{form}"
    pa_csv.write_csv(table, path) if form == "csv" else pq.write_table(table, path)
    return (Csv if form == "csv" else Parquet)(path=path, **options)


def _columns(reader):
    return {column.name: column for column in inspect(reader).columns}


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_codes_are_missing_where_the_option_lists_them(read, tmp_path, form):
    reader = _reader(tmp_path, form, missing=["99", "-9"], test_share=0)
    columns = _columns(reader)
    assert [columns[name].missing for name in ("age", "rate", "x")] == [N // 4, N // 5, 0]
    assert [columns[name].distinct_values for name in ("age", "rate")] == [3, len(set(RATES)) - 1]
    samples = read(reader)
    assert samples.column("age") == [None if age == 99 else age for age in AGES]
    assert samples.column("rate") == [None if rate == -9 else rate for rate in RATES]


def test_a_code_with_a_point_and_one_of_half_precision_are_the_same(tmp_path):
    cells = pa.table({"a": ["-9.0", "-9.000", "+99", "99.00"] * 10, "label": ["a", "b"] * 20})
    assert _columns(_reader(tmp_path, "csv", cells, missing=["-9", "99.0"]))["a"].missing == 40
    floats = pa.table({"a": pa.array([-9.99, 1, 2, 3] * 10, pa.float32()), "label": ["a", "b"] * 20})
    assert _columns(_reader(tmp_path, "parquet", floats, missing=["-9.99"]))["a"].missing == 10


def test_one_number_that_is_written_in_many_ways_is_no_code(tmp_path):
    cells = pa.table({"a": ["5", "5.0", "5.00", "5.000"] * 10, "x": range(40), "label": ["a", "b"] * 20})
    assert _columns(_reader(tmp_path, "csv", cells))["a"].kind == "number"


def test_a_number_that_may_be_a_code_is_told_with_the_option(tmp_path):
    columns = _columns(_reader(tmp_path, "parquet"))
    assert columns["age"].why == "as it is; 99 may stand for no answer: --reader.missing=99"
    assert columns["rate"].why == "as it is; -9 may stand for no answer: --reader.missing=-9"
    assert columns["x"].why == "as it is"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_a_code_is_no_number_to_learn_either(tmp_path, form):
    table = TABLE.append_column("price", pa.array(RATES))
    seen = inspect(_reader(tmp_path, form, table, label="price", target="number", missing=["-9"]))
    assert seen.rejects == {"missing label": N // 5}
    assert "-9" not in seen.labels


def test_lists_of_another_length_than_the_first_are_counted_as_a_run_rejects_them(read, tmp_path):
    vectors = [[1.0, i] if i % 4 else [1.0, i, 2.0] for i in range(1, N + 1)]
    reader = _reader(tmp_path, "parquet", pa.table({"v": vectors, "label": ["a", "b"] * (N // 2)}))
    assert inspect(reader).rejects == {"wrong length (column v)": N // 4}
    assert list(read(reader).reasons.values()) == ["wrong length"] * (N // 4)
