"""A path leads to the same place in JSON as in Arrow."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ingestion.files.nested_fields import array_at, column_at, fields_of, parse, paths_of, value_at, written

TASK = {
    "id": 7,
    "data": {"text": "good", "meta": {"lang": "en"}},
    "annotations": [{"result": [{"value": {"choices": ["Pos", "Neg"]}, "type": "choices"}]}],
    "label.responses": ["pos"],
}

names = st.text(st.characters(exclude_characters=".[]", exclude_categories=["Cs"]), min_size=1, max_size=4)
steps = st.builds(lambda first, rest: (first, *rest), names, st.lists(names | st.integers(-9, 9), max_size=5))


@given(steps)
def test_a_path_is_its_steps(steps):
    assert parse(written(steps)) == steps


@given(st.text(".[]ab01-", max_size=12))
def test_a_text_is_one_path_or_none(text):
    steps = parse(text)
    assert steps == () or parse(written(steps)) == steps


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("data.text", "good"),
        ("data.meta.lang", "en"),
        ("annotations[0].result[0].value.choices[0]", "Pos"),
        ("annotations[0].result[-1].value.choices[-1]", "Neg"),
        ("annotations[1].result[0]", None),
        ("annotations.result", None),
        ("data[0]", None),
        ("data.text.more", None),
        ("label.responses[0]", "pos"),
        ("label.responses", ["pos"]),
        ("nothing", None),
    ],
)
def test_a_path_leads_to_its_value_in_json_and_in_arrow(path, value):
    assert value_at(TASK, parse(path)) == value
    table = pa.RecordBatch.from_pylist([TASK, {"id": 8}, TASK]).slice(1)
    column = column_at(table, path)
    assert (column is None and value is None) or column.to_pylist() == [None, value]


def _close(value):
    """JSON values with one shape, as a struct has it."""
    return st.fixed_dictionaries(
        {
            "a": st.none() | st.integers(0, 5),
            "b": st.none() | st.lists(st.none() | st.fixed_dictionaries({"c": st.integers(0, 5)}), max_size=3),
        }
    )


KIND = pa.struct([("a", pa.int64()), ("b", pa.list_(pa.struct([("c", pa.int64())])))])


@given(st.lists(st.none() | _close(None), max_size=6), st.sampled_from(["a", "b[0].c", "b[1].c", "b[-1].c"]), st.data())
def test_arrow_and_json_agree(values, path, data):
    array = pa.array(values, KIND)
    start = data.draw(st.integers(0, len(values)))
    found = array_at(array.slice(start), parse(path))
    assert found.to_pylist() == [value_at(value, parse(path)) for value in values[start:]]


def test_fixed_size_lists_have_places_too():
    array = pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int64(), 2))
    assert array_at(array, (1,)).to_pylist() == [2, None, 4]


def test_the_paths_within_are_those_that_lead_to_plain_values():
    inner = ["annotations[0].result[0].value.choices[0]", "annotations[0].result[0].type"]
    assert list(paths_of(TASK)) == ["id", "data.text", "data.meta.lang", *inner, "label.responses[0]"]
    assert list(fields_of(KIND, "x")) == ["x.a", "x.b[0].c"]
