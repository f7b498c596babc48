"""JSON as it is exported: lines or an array, fields within fields, keys that come late."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadInput
from tasks.dataset.payload import payload_of
from tasks.ingestion.files.json_rows import rows_of
from tasks.ingestion.readers import Reject
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.parquet import Parquet

N = 24
ROWS = [{"a": i, "b": i / 2, "label": "xy"[i % 2]} for i in range(N)]


def _written(rows, style: str) -> str:
    if style == "lines":
        return "".join(json.dumps(row) + "\n" for row in rows)
    if style == "objects":
        return "\n".join(json.dumps(row, indent=2) for row in rows)
    return json.dumps(rows, indent=2 if style == "indented" else None)


@pytest.mark.parametrize("style", ["lines", "objects", "array", "indented"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_way_to_write_objects_is_read(read, tmp_path, style, encoding):
    (tmp_path / "a.json").write_bytes(_written(ROWS, style).encode(encoding))
    ingested = read(Jsonl(path=tmp_path / "a.json"))
    assert ingested.column("b") == [i / 2 for i in range(N)]
    assert ingested.column("row") == list(range(N))


@pytest.mark.parametrize("size", [1, 7, 64])
def test_an_array_is_the_same_in_pieces_of_any_size(tmp_path, monkeypatch, size):
    monkeypatch.setattr("tasks.ingestion.files.json_rows._BLOCK", size)
    rows = [{"text": 'a ] } , " \\ é\u2028' * i, "n": [1.5, -2e3, None, True], "o": {"k": []}} for i in range(20)]
    for style in ("array", "indented", "objects"):
        (tmp_path / "a.json").write_text(_written(rows, style), encoding="utf-8")
        assert [item for _, item in rows_of(tmp_path / "a.json")] == rows


def test_an_element_that_is_no_object_is_rejected_with_its_place(tmp_path):
    (tmp_path / "a.json").write_text('[{"a": 1}, 7, [{"a": 2}], null, {"a": "\\ud800"}, {"a": 3}]')
    rows = dict(rows_of(tmp_path / "a.json"))
    assert [place for place, item in rows.items() if isinstance(item, Reject)] == [1, 2, 3, 4]
    assert rows[5] == {"a": 3}


@pytest.mark.parametrize(
    ("text", "where", "got"),
    [
        ('[{"a": 1},\n {"a": 2}', "line 2", "the end of the file"),
        ('[{"a": 1},\n {"a": 2', "line 2", "Expecting ',' delimiter"),
        ('[{"a": 1}\n {"a": 2}]', "line 2", "'{' after element 1"),
        ('[{"a": 1}]\n]', "line 2", "more after the array's end"),
        ('[{"a": 1},\n{"a": nope}, {"a": 2}]', "line 2", "Expecting value"),
    ],
)
def test_a_broken_array_is_refused_with_the_line(tmp_path, text, where, got):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BadInput) as caught:
        list(rows_of(tmp_path / "a.json"))
    assert caught.value.where.endswith(where)
    assert caught.value.got == got


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"data": [{"a": 1, "label": "x"}, {"a": 2, "label": "y"}]}', "jq -c '.data[]' a.json"),
        ('{"a": {"0": 1, "1": 2}, "label": {"0": "x", "1": "y"}}', "orient='records'"),
    ],
)
def test_a_file_that_is_one_object_is_refused_with_what_makes_rows_of_it(read, tmp_path, text, words):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BadInput) as caught:
        read(Jsonl(path=tmp_path / "a.json"))
    assert words in caught.value.do


def test_a_key_of_a_later_file_is_a_column(read, tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "0.jsonl").write_text(_written(ROWS, "lines"))
    (tmp_path / "parts" / "1.jsonl").write_text(
        _written([row | {"a": 100 + row["a"], "c": "new"} for row in ROWS], "lines")
    )
    assert read(Jsonl(path=tmp_path / "parts")).column("c") == [None] * N + ["new"] * N


# ---- fields within fields ------------------------------------------------------------------------------------------

STUDIO = [
    {
        "id": i,
        "data": {"text": f"text {i}"},
        "annotations": [{"result": [{"value": {"choices": ["xy"[i % 2]]}, "type": "choices"}]}] if i else [],
    }
    for i in range(N)
]
ARGILLA_2 = [
    {
        "id": f"r{i}",
        "fields": {"text": f"text {i}"},
        "responses": {"label": [{"value": "xy"[i % 2], "status": "submitted"}]} if i else {},
        "suggestions": {"label": {"value": "x", "score": 0.5}},
    }
    for i in range(N)
]
ARGILLA_1 = [
    {
        "fields": {"text": f"text {i}"},
        "responses": [{"values": {"label": {"value": "xy"[i % 2]}}, "status": "submitted"}] if i else [],
    }
    for i in range(N)
]
ARGILLA_FLAT = [{"text": f"text {i}", "label.responses": ["xy"[i % 2]] if i else None} for i in range(N)]


@pytest.mark.parametrize(
    ("rows", "text", "label"),
    [
        (STUDIO, "data.text", "annotations[0].result[0].value.choices[0]"),
        (ARGILLA_2, "fields.text", "responses.label[0].value"),
        (ARGILLA_1, "fields.text", "responses[0].values.label.value"),
        (ARGILLA_FLAT, "text", "label.responses[0]"),
    ],
    ids=["label studio", "argilla", "argilla 1", "argilla flat"],
)
def test_exports_of_labelling_tools_are_read_by_two_options(read, tmp_path, rows, text, label):
    (tmp_path / "a.json").write_text(_written(rows, "array"))
    ingested = read(Jsonl(path=tmp_path / "a.json", text=text, label=label))
    assert ingested.artefact.facts["classes"] == ["x", "y"]
    assert ingested.column(text)[:2] == ["text 1", "text 2"]
    assert ingested.reasons == {0: "missing label"}


NESTED = [{"kind": {"name": "xy"[i % 2]}, "f": {"a": i / 3, "v": [i, 1.5]}} for i in range(N)]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_fields_within_are_inputs_where_options_name_them(read, tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    if kind == "jsonl":
        path.write_text(_written(NESTED, "lines"))
    else:
        pq.write_table(pa.Table.from_pylist(NESTED), path)
    reader = {"jsonl": Jsonl, "parquet": Parquet}[kind]
    ingested = read(reader(path=path, label="kind.name", features=["f.a", "f.v"]))
    assert payload_of(ingested.artefact).columns == ("f.a", "f.v")
    assert ingested.column("f.v")[3] == [3.0, 1.5]
    assert ingested.column("label")[:2] == ["x", "y"]
    with pytest.raises(BadInput) as caught:
        read(reader(path=path, label="kind", features=["f.a"]))
    assert caught.value.do == "Name a field: --reader.label kind.name."
    with pytest.raises(BadInput) as caught:
        read(reader(path=path, label="name", features=["f.a"]))
    assert caught.value.do == "Did you mean --reader.label kind.name?"


def test_objects_are_carried_as_json_and_are_no_inputs(read, tmp_path):
    rows = [row | {"a": i * i} for i, row in enumerate(NESTED)]
    (tmp_path / "a.jsonl").write_text(_written(rows, "lines"))
    ingested = read(Jsonl(path=tmp_path / "a.jsonl", label="kind.name"))
    assert payload_of(ingested.artefact).columns == ("a",)
    assert ingested.column("kind")[:2] == ['{"name": "x"}', '{"name": "y"}']
    assert ingested.samples.schema.field("kind").type == pa.string()


def test_a_list_is_no_class(read, tmp_path):
    rows = [{"a": i * i, "label": ["xy"[i % 2]]} for i in range(N)]
    (tmp_path / "a.json").write_text(_written(rows, "array"))
    with pytest.raises(BadInput) as caught:
        read(Jsonl(path=tmp_path / "a.json"))
    assert caught.value.do == "Name a field: --reader.label 'label[0]'."
    assert read(Jsonl(path=tmp_path / "a.json", target="labels")).artefact.facts["classes"] == ["x", "y"]


def test_objects_that_are_all_there_is_to_learn_from_are_named_by_their_fields(read, tmp_path):
    rows = [{"id": i, "size": {"w": i * i, "h": i % 7}, "label": "xy"[i % 2]} for i in range(N)]
    (tmp_path / "a.json").write_text(_written(rows, "array"))
    with pytest.raises(BadInput) as caught:
        read(Jsonl(path=tmp_path / "a.json"))
    assert caught.value.do == "Name fields within objects: --reader.features size.w,size.h."
    named = read(Jsonl(path=tmp_path / "a.json", features=["size.w", "size.h"]))
    assert payload_of(named.artefact).columns == ("size.w", "size.h")
