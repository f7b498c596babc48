"""Each encoder gives what a person would write down row by row, without a missing value, and comes back from JSON."""

from __future__ import annotations

import datetime as dt
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tasks.dataset.encoders import ColumnEncoder, cells
from tasks.dataset.encoders.boolean import Boolean
from tasks.dataset.encoders.category import Category
from tasks.dataset.encoders.date_parts import DateParts
from tasks.dataset.encoders.hashed_text import HashedText
from tasks.dataset.encoders.number import Number
from tasks.dataset.encoders.numbers import Numbers
from tasks.dataset.payload import Payload, to_array

few = settings(max_examples=25, deadline=None, database=None)
DATES = pa.array([dt.datetime(2024, 2, 29, 13, 30), None, dt.datetime(2023, 12, 31)], pa.timestamp("us"))
CASES = {
    "number": (Number(median=2.5, indicator=True), pa.array([1.0, None, float("nan")])),
    "integers": (Number(median=2.0), pa.array([1, None, 3], pa.int16())),
    "written": (Number(median=0.0, form="point"), pa.array(["$1,234.50", None, "(5)"])),
    "numbers": (Numbers(length=2), pa.FixedSizeListArray.from_arrays(pa.array([1, 2, 3, 4, 5, 6], pa.uint8()), 2)),
    "boolean": (Boolean(usual=True, indicator=True), pa.array(["YES", None, "no"])),
    "typed boolean": (Boolean(usual=False), pa.array([True, None, False])),
    "category": (Category(values=("a", "b"), others=True, indicator=True), pa.array([" b", None, "new"])),
    "dictionary": (Category(values=("a", "b")), pa.array(["b", "new", "a"]).dictionary_encode()),
    "hashed text": (HashedText(indicator=True), pa.array(["Port Harcourt", None, "Port Harcourt"])),
    "date": (DateParts(parts=("days", "year", "month", "weekday", "hour"), first=0, median=0, indicator=True), DATES),
}


def by_hand(encoder: ColumnEncoder, value: object) -> list[float]:
    """What one cell becomes, in plain Python."""
    if isinstance(encoder, Numbers):
        return [float(number) for number in value]
    missing = value is None or value != value
    if isinstance(encoder, Number):
        numbers = {"$1,234.50": 1234.5, "(5)": -5.0}
        values = [encoder.median if missing else float(numbers.get(value, value))]
    elif isinstance(encoder, Boolean):
        values = [float(encoder.usual if missing else value in (True, "YES"))]
    elif isinstance(encoder, Category):
        word = None if missing else str(value).strip()
        values = [float(word == known) for known in encoder.values]
        values += [float(not missing and word not in encoder.values)] * encoder.others
    else:
        date = dt.datetime(1970, 1, 1) if missing else value
        values = [(date - dt.datetime(1970, 1, 1)).total_seconds() / 86_400, date.year]
        for turn in ((date.month - 1) / 12, date.weekday() / 7, (date.hour + date.minute / 60) / 24):
            values += [math.sin(2 * math.pi * turn), math.cos(2 * math.pi * turn)]
    return values + [float(missing)] * encoder.indicator


@pytest.mark.parametrize("case", [name for name in CASES if name != "hashed text"])
def test_an_encoder_gives_what_is_written_down_by_hand(case):
    encoder, column = CASES[case]
    expected = np.array([by_hand(encoder, value) for value in column.to_pylist()])
    assert np.allclose(encoder.encode(column), expected, atol=1e-6)


@pytest.mark.parametrize("case", CASES)
def test_an_encoder_gives_float32_of_its_width_and_comes_back_from_json(case):
    encoder, column = CASES[case]
    encoded = encoder.encode(column)
    assert (encoded.dtype, encoded.shape) == (np.float32, (3, encoder.width))
    assert np.isfinite(encoded).all()
    again = TypeAdapter(ColumnEncoder).validate_json(encoder.model_dump_json())
    assert again == encoder
    assert np.array_equal(again.encode(column), encoded)


@pytest.mark.parametrize("case", CASES)
def test_rows_are_encoded_one_by_one_and_none_at_all_as_all_together(case):
    encoder, column = CASES[case]
    one_by_one = [encoder.encode(column.slice(i, 1)) for i in range(3)]
    assert np.array_equal(np.concatenate(one_by_one), encoder.encode(column))
    assert encoder.encode(column.slice(0, 0)).shape == (0, encoder.width)


def test_texts_that_are_alike_are_hashed_alike_and_a_missing_one_is_zero():
    encoder = HashedText(indicator=True)
    near, far, missing, plain = encoder.encode(pa.array(["Harcourt", "Zürich", None, "Harcourts"]))
    assert near @ plain > 0.7 > near @ far
    assert missing.tolist() == [0.0] * encoder.columns + [1.0]


@pytest.mark.parametrize(
    ("word", "form", "number"),
    [
        ("12,345", "point", 12345.0),
        ("1,234,567.8", "point", 1234567.8),
        ("1.234,56", "comma", 1234.56),
        ("3,5", "comma", 3.5),
        ("$5", "point", 5.0),
        ("5 €", "comma", 5.0),
        ("USD 1,000", "point", 1000.0),
        ("3 %", "point", 3.0),
        ("1 000", "point", 1000.0),
        ("1\u202f000,5", "comma", 1000.5),
        ("1'000", "point", 1000.0),
        ("(5)", "point", -5.0),
        ("$-1,000", "point", -1000.0),
        ("−7", "point", -7.0),
        ("12,34", "point", None),
        ("1,2345", "point", None),
        ("0,123", "point", None),
        ("5 kg", "point", None),
        ("5 kg", "point kg", 5.0),
        ("-1.234,5 kg", "comma kg", -1234.5),
        ("$5 km/h", "point km/h", 5.0),
        ("5 lb", "point kg", None),
        ("5", "point kg", None),
        ("007 kg", "point kg", None),
        ("$35k", f"point {cells.FACTORS}", 35_000.0),
        ("1,2 Mio", f"comma {cells.FACTORS}", 1_200_000.0),
        ("(1.1M)", f"point {cells.FACTORS}", -1_100_000.0),
        ("900", f"point {cells.FACTORS}", 900.0),
        ("35m", f"point {cells.FACTORS}", None),
        ("35kM", f"point {cells.FACTORS}", None),
        ("", "point", None),
    ],
)
def test_numbers_are_read_as_people_write_them(word, form, number):
    assert cells.written_numbers(pa.array([word]), form).to_pylist() == [number]


@few
@given(st.lists(st.integers(-(10**9), 10**9), min_size=1))
def test_every_whole_number_is_read_with_its_thousands_apart(numbers):
    assert cells.written_numbers(pa.array([f"{n:,}" for n in numbers]), "point").to_pylist() == numbers
    dotted = pa.array([f"{n:,}".replace(",", ".") for n in numbers])
    assert cells.written_numbers(dotted, "comma").to_pylist() == numbers


@few
@given(
    st.lists(st.decimals(-(10**6), 10**6, places=2), min_size=1),
    st.text(st.characters(categories=["L"]), min_size=1, max_size=5),
    st.sampled_from(["", " ", "\u00a0"]),
)
def test_every_number_is_read_in_its_unit_and_in_no_other(numbers, unit, space):
    words = pa.array([f"{n:,}{space}{unit}" for n in numbers])
    form = f"point {unit}"
    assert cells.written_numbers(words, form).to_pylist() == [float(n) for n in numbers]
    assert form in cells.forms_like(words[0].as_py())
    assert cells.written_numbers(words, f"{form}x").null_count == len(numbers)
    assert cells.written_numbers(pa.array([f"{n:,}" for n in numbers]), form).null_count == len(numbers)


@few
@given(st.lists(st.tuples(st.decimals(0, 10**4, places=2), st.sampled_from(["", "k", "K", "M", " Mio"])), min_size=1))
def test_every_factor_is_multiplied_by(cells_):
    factors = {"": 1, "k": 10**3, "K": 10**3, "M": 10**6, " Mio": 10**6}
    read = cells.written_numbers(pa.array([f"{n}{factor}" for n, factor in cells_]), f"point {cells.FACTORS}")
    assert read.to_pylist() == [float(n * factors[factor]) for n, factor in cells_]


@few
@given(st.lists(st.datetimes(dt.datetime(1700, 1, 1), dt.datetime(2200, 1, 1)), min_size=1))
def test_every_date_is_read_as_it_is_written(moments):
    whole = [moment.replace(microsecond=0) for moment in moments]
    for form in ("%Y-%m-%d %H:%M:%S", "%d.%m.%Y %H:%M:%S", "%m/%d/%Y %H:%M:%S"):
        words = pa.array([f"{m:{form}}" if m.year > 999 else "" for m in whole])
        assert cells.dates(words, form).to_pylist() == whole
    iso = pa.array([f"{moment.isoformat()}Z" for moment in moments])
    assert cells.dates(iso, "%Y-%m-%d %H:%M:%S").to_pylist() == whole


def test_a_payload_puts_encoded_columns_side_by_side_and_says_nothing_of_encoders_where_there_are_none():
    encoders = (CASES["number"][0], CASES["category"][0])
    columns = [CASES["number"][1], CASES["category"][1]]
    payload = Payload(kind="array", columns=("n", "c"), shape=(6,), dtype="float32", encoders=encoders)
    batch = pa.RecordBatch.from_arrays(columns, names=["n", "c"])
    expected = np.concatenate([encoder.encode(column) for encoder, column in zip(encoders, columns, strict=True)], 1)
    assert np.array_equal(to_array(batch, Payload.model_validate(payload.model_dump(mode="json"))), expected)
    assert "encoders" not in payload.model_copy(update={"encoders": ()}).model_dump(mode="json")
