"""An edited sheet is taken at its word, in each of its forms, and refused with its row where it has none."""

from __future__ import annotations

import json

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadInput
from tasks.dataset.targets import Target
from tasks.decision.review_sheet import (
    ROWS,
    Answer,
    earlier_question,
    home_of,
    keep_answer,
    note_question,
    read_sheet,
    rows_of_answer,
    waiting_flow_run,
    write_sheet,
)
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import SUSPECTS

TARGET = Target(classes=("ape", "bee", "0"))
NAMES = ["a", "b", "c", "d"]


@pytest.fixture
def flags(tmp_path):
    """(run, artefact, table): three of four are flagged, one of them with a suggestion."""
    blank = dict.fromkeys(SUSPECTS.names) | {"suspicion": 0.5, "detector": "l2", "marked_by": ["l2"], "reason": "a | b"}
    rows = [
        blank | {"sample_id": name, "flag": name != "d", "rank": rank, "label": "ape", "source": "s", "row": rank}
        for rank, name in enumerate(NAMES, 1)
    ]
    rows[0]["suggested_label"] = "0"
    table = pa.Table.from_pylist(rows, SUSPECTS)
    run = Run.start(tmp_path / "lake", "pets")
    with run.draft("flags") as draft:
        pq.write_table(table, draft.path("flags.parquet", table.num_rows))
        return run, draft.commit(flagged=3), table


def rows(table: pa.Table) -> list[tuple]:
    assert table.schema == ROWS
    return [tuple(row.values()) for row in table.to_pylist()]


def test_the_sheet_as_it_is_approves_all_that_is_flagged(flags):
    run, artefact, table = flags
    sheet = write_sheet(run, artefact)
    expected = [("a", True, "0", None), ("b", True, None, None), ("c", True, None, None)]
    for path in (sheet, sheet.with_suffix(".parquet")):
        assert rows(read_sheet(path, table, TARGET)) == expected


def test_a_sheet_that_has_been_edited_is_never_written_over(flags):
    run, artefact, _ = flags
    sheet = write_sheet(run, artefact)
    sheet.write_text("sample_id,decision\na,keep\n")
    assert write_sheet(run, artefact).read_text() == "sample_id,decision\na,keep\n"


def test_labels_that_look_like_numbers_stay_labels(flags, tmp_path):
    (tmp_path / "s.csv").write_text("sample_id,decision,new_label\na,flag,0\nb,KEEP,\n")
    assert rows(read_sheet(tmp_path / "s.csv", flags[2], TARGET)) == [("a", True, "0", None), ("b", False, None, None)]


def test_a_class_called_na_is_a_class_and_a_label_of_several_lines_stands_in_its_cell(flags, tmp_path):
    (tmp_path / "s.csv").write_text('sample_id,decision,label,new_label\na,flag,"one\ntwo",NA\nb,keep,ape,\n')
    target = Target(classes=("ape", "NA"))
    assert rows(read_sheet(tmp_path / "s.csv", flags[2], target)) == [("a", True, "NA", None), ("b", False, None, None)]


def test_a_row_may_be_removed_or_relabelled_whatever_the_run_does_with_the_flagged(flags, tmp_path):
    run, artefact, table = flags
    # The one that is not flagged too.
    (tmp_path / "s.csv").write_text("sample_id,decision,new_label\na,relabel,\nb,remove,\nd,relabel,bee\n")
    found = read_sheet(tmp_path / "s.csv", table, TARGET)
    assert rows(found) == [("a", True, None, "relabel"), ("b", True, None, "remove"), ("d", True, "bee", "relabel")]
    keep_answer(run.lake, artefact.digest, Answer(decision="rows", reviewer="ann"), found)
    assert rows_of_answer(run.lake, artefact.digest) == found
    # As a version kept it that knew of no remedies.
    pq.write_table(found.drop_columns("remedy"), home_of(run.lake, artefact.digest) / "rows.parquet")
    assert rows_of_answer(run.lake, artefact.digest)["remedy"].null_count == 3


def test_a_question_is_found_by_our_name_for_the_run(flags):
    run, artefact, _ = flags
    write_sheet(run, artefact)
    note_question(run, artefact, "0123-prefect", "key")
    assert waiting_flow_run(run.lake, run.run_id) == "0123-prefect"
    assert waiting_flow_run(run.lake, "another") is None


def test_each_run_that_asks_about_the_same_flags_keeps_the_key_of_its_own_last_question(flags):
    run, artefact, _ = flags
    write_sheet(run, artefact)
    assert earlier_question(run.lake, artefact.digest, "first") is None
    for flow_run, key in (("first", "a"), ("second", "b"), ("first", "c")):
        note_question(run, artefact, flow_run, key)
    assert [earlier_question(run.lake, artefact.digest, name) for name in ("first", "second")] == ["c", "b"]


def test_label_studio_gives_back_what_it_was_given_and_what_was_chosen(flags):
    run, artefact, table = flags
    write_sheet(run, artefact)
    tasks = json.loads((home_of(run.lake, artefact.digest) / "label_studio.json").read_text())
    for task, decision in zip(tasks, ("flag", "keep", None), strict=True):
        result = [{"from_name": "decision", "value": {"choices": [decision]}}] if decision else []
        if decision == "flag":
            result.append({"from_name": "new_label", "value": {"choices": ["bee"]}})
        task["annotations"] = [{"result": result}]
    exported = home_of(run.lake, artefact.digest) / "export.json"
    exported.write_text(json.dumps(tasks))
    assert rows(read_sheet(exported, table, TARGET)) == [("a", True, "bee", None), ("b", False, None, None)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sample_id,decision\na,perhaps\n", "'perhaps' in row 1"),
        ("sample_id,decision\nz,flag\n", "'z' in row 1"),
        ("sample_id,decision,new_label\na,flag,0\nb,flag,dog\n", "'dog' in row 2"),
        ("sample_id,decision\na,flag\na,keep\n", "a several times"),
        ("sample_id,decision\na,relabel\nb,relabel\n", "none in row 2"),
        ("sample_id\na\n", "sample_id and decision"),
        ("", "review sheet"),
    ],
)
def test_a_sheet_that_says_what_cannot_be_is_refused_with_the_place(flags, tmp_path, text, words):
    (tmp_path / "s.csv").write_text(text)
    with pytest.raises(BadInput) as caught:
        read_sheet(tmp_path / "s.csv", flags[2], TARGET)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["s.txt", "none.csv", "none.parquet"])
def test_a_file_of_another_kind_or_none_is_refused(flags, tmp_path, name):
    (tmp_path / "s.txt").write_text("")
    with pytest.raises(BadInput, match=name):
        read_sheet(tmp_path / name, flags[2], TARGET)


def test_a_file_that_is_no_parquet_is_refused(flags, tmp_path):
    pa_csv.write_csv(pa.table({"sample_id": ["a"], "decision": ["keep"]}), tmp_path / "s.parquet")
    with pytest.raises(BadInput, match="review sheet"):
        read_sheet(tmp_path / "s.parquet", flags[2], TARGET)
