"""Sets of labels that stand in a cell as a list are the sets, however the list is written; what is none is told."""

from __future__ import annotations

import pytest

from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.tables.written_lists import listed


@pytest.mark.parametrize(
    ("text", "elements"),
    [
        ('["a", "b"]', ["a", "b"]),
        ("['a', 'b c']", ["a", "b c"]),
        ("['a' 'b']", ["a", "b"]),  # NumPy's
        ("['a'\n \"b's\"]", ["a", "b's"]),
        (r"['it\'s']", ["it's"]),
        ("[rain, wind]", ["rain", "wind"]),
        ('{rain,"sun and wind"}', ["rain", "sun and wind"]),  # PostgreSQL's
        ("[1, 2]", ["1", "2"]),
        ('["a", null]', ["a"]),
        ('{"choices": ["a", "b"]}', ["a", "b"]),
        ('{"a": 1, "b": 2}', None),
        ("[]", [""]),
        ("{}", [""]),
        ("[a]|[b]", None),
        ("rain", None),
        ("[rain", None),
        ('[["a"], ["b"]]', None),
        ("[" * 100_000 + "]" * 100_000, None),
    ],
)
def test_a_list_is_read_as_json_python_numpy_and_sql_write_it(text, elements):
    assert listed(text) == elements


def _notes(tmp_path, cells, **options):
    rows = "".join(f'text {i},"{cells[i % len(cells)]}"\n' for i in range(24))
    (tmp_path / "a.csv").write_text(f"text,labels\n{rows}")
    return inspect(Csv(path=tmp_path / "a.csv", text="text", label="labels", **options))


def test_a_column_of_lists_as_text_is_of_sets(tmp_path):
    seen = _notes(tmp_path, ["['rain', 'wind']", "['wind']", "[]"], target="labels")
    assert seen.labels == {"rain|wind": 8, "wind": 8, "(none)": 8}
    assert seen.notes == []


def test_lists_that_are_read_as_classes_are_told(tmp_path):
    (note,) = _notes(tmp_path, ["['rain', 'wind']", "['wind']"]).notes
    assert "--reader.target labels" in note
    assert _notes(tmp_path, ["[rain]", "wind"]).notes == []


def test_another_mark_between_labels_than_the_separator_is_told(tmp_path):
    cells = ["rain, wind", "wind", "rain"]
    (note,) = _notes(tmp_path, cells, target="labels").notes
    assert note.endswith("--reader.separator ,")
    assert _notes(tmp_path, cells, target="labels", separator=",").notes == []
    assert _notes(tmp_path, ["rain, heavy", "wind, light", "sun"], target="labels").notes == []
