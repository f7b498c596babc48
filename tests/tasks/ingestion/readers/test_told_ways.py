"""What was annotated otherwise, lies in several files, or in folders of texts is told, with what to type."""

from __future__ import annotations

import json
import re

import pytest

from tasks.core.errors import BadConfig, BadInput
from tasks.ingestion.files.nested_fields import has_several, parse
from tasks.ingestion.files.source_kind import kind_of_source
from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.jsonl import Jsonl

N = 12


def _jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def _csv(path, header, rows):
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")


def test_rows_that_their_annotators_rejected_are_told(tmp_path):
    rows = [{"text": f"text {i}", "label": "ab"[i % 2], "answer": "ignore" if i % 3 else "accept"} for i in range(N)]
    (note,) = inspect(Jsonl(path=_jsonl(tmp_path / "a.jsonl", rows), text="text")).notes
    assert "'ignore' of 8 of the first 12 rows" in note
    assert "take the rows whose answer is none of these first" in note
    accepted = [row | {"answer": "accept"} for row in rows]
    others = [row | {"answer": f"answer {i % 4}"} for i, row in enumerate(rows)]
    for kept in (accepted, others):
        assert inspect(Jsonl(path=_jsonl(tmp_path / "b.jsonl", kept), text="text")).notes == []


def test_a_path_that_leaves_values_out_is_told(tmp_path):
    rows = [{"text": f"text {i}", "label": ["a", "b"] if i % 4 else ["b"]} for i in range(N)]
    seen = inspect(Jsonl(path=_jsonl(tmp_path / "a.jsonl", rows), text="text", label="label[0]"))
    assert seen.notes == ["label[0]: 9 of 12 rows have more there than the one that is read"]


@pytest.mark.parametrize(
    ("value", "path", "several"),
    [
        ({"a": [1, 2]}, "a[0]", True),
        ({"a": [{"b": [1]}]}, "a[0].b[0]", False),
        ({"a": [{"b": [1, 2]}]}, "a[0].b[-1]", True),
        ({"a": []}, "a[0]", False),
        ({"a": [1, 2]}, "a", False),
        ({"a": 1}, "a[0]", False),
    ],
)
def test_several_values_are_seen_at_any_step_of_a_path(value, path, several):
    assert has_several(value, parse(path)) is several


def test_files_whose_rows_belong_side_by_side_are_refused_with_the_way(tmp_path, monkeypatch):
    ids = range(N)
    _csv(tmp_path / "set" / "features.csv", "id,x", [f"{i},{i * i}" for i in ids])
    _csv(tmp_path / "set" / "labels.csv", "id,label", [f"{i},{'ab'[i % 2]}" for i in reversed(ids)])
    with pytest.raises(BadInput, match=r"'label' in labels\.csv alone") as error:
        inspect(Csv(path=tmp_path / "set"))
    (code,) = re.findall(r'python -c "(.*)"', error.value.do)
    monkeypatch.chdir(tmp_path / "set")
    exec(code, {})  # noqa: S102 - the message's own command, as its reader types it
    lines = (tmp_path / "set" / "rows.csv").read_text().splitlines()
    assert lines == ["id,x,label", *(f"{i},{i * i},{'ab'[i % 2]}" for i in ids)]


def test_files_that_share_no_column_are_refused_with_another_way(tmp_path):
    _csv(tmp_path / "set" / "X_train.csv", "x", map(str, range(N)))
    _csv(tmp_path / "set" / "y_train.csv", "label", ["a"] * N)
    with pytest.raises(BadInput, match=r"paste -d, X_train\.csv y_train\.csv > rows\.csv"):
        inspect(Csv(path=tmp_path / "set"))


def test_texts_in_class_folders_are_refused_with_a_command_that_makes_rows_of_them(tmp_path, monkeypatch, capsys):
    for label in ("pos", "neg"):
        (tmp_path / "reviews" / label).mkdir(parents=True)
        (tmp_path / "reviews" / label / "1.txt").write_text(f"a {label} text")
    with pytest.raises(BadConfig, match="texts in folders") as error:
        kind_of_source(tmp_path / "reviews")
    (code,) = re.findall(r'python -c "(.*)"', error.value.do)
    monkeypatch.setattr("sys.argv", ["-c", str(tmp_path / "reviews")])
    exec(code, {})  # noqa: S102 - the message's own command, as its reader types it
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["label"]: row["text"] for row in rows} == {"pos": "a pos text", "neg": "a neg text"}


def test_sounds_in_folders_are_refused_and_pictures_without_a_suffix_are_not(tmp_path):
    for label in ("a", "b"):
        for folder, suffix in (("sounds", ".wav"), ("bare", "")):
            (tmp_path / folder / label).mkdir(parents=True)
            (tmp_path / folder / label / f"1{suffix}").write_bytes(b"\x89PNG\0\0")
    with pytest.raises(BadConfig, match="sounds or films"):
        kind_of_source(tmp_path / "sounds")
    assert kind_of_source(tmp_path / "bare") == "image_folder"


def test_the_option_is_told_where_the_label_or_the_encoding_is_another(tmp_path):
    _csv(tmp_path / "a.csv", "x,species", ["1,a", "2,b"])
    with pytest.raises(BadInput, match=r"Did you mean --reader\.label species"):
        inspect(Csv(path=tmp_path / "a.csv"))
    (tmp_path / "b.csv").write_bytes("x,label\n1,schön\n2,häßlich\n".encode("cp1252"))
    with pytest.raises(BadInput, match=r"--reader\.encoding cp1252"):
        inspect(Csv(path=tmp_path / "b.csv"))


def test_a_header_in_one_cell_names_the_option_of_the_delimiter(tmp_path):
    _csv(tmp_path / "a.csv", "x    label", ["1    a", "2    b"])
    with pytest.raises(BadInput, match=r"--reader\.delimiter says"):
        inspect(Csv(path=tmp_path / "a.csv"))
