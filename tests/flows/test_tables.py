"""A table of words, gaps and dates through the whole pipeline: told, versioned, live, and a night later."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from kept_states import State

from tasks.catalogue.database import connect
from tasks.dataset.payload import Payload, to_array
from tasks.versions.live import LiveDataset
from tasks.versions.object_store import Objects

OPTIONS = (
    "--dataset=people", "--reader.label=survived", "--model.kind=logistic", "--training.epochs=4", "--folds=2",
    "--detectors=l2", "--budget.kind=share", "--verification.seeds=1",
)  # fmt: skip
HEADER = ["", "class", "age", "fare", "joined", "note", "survived"]


def rows_of(n: int, seed: int = 0) -> list[list[str]]:
    """Passengers, the first ones the same whatever n."""
    rows = []
    for i in range(n):
        draw = random.Random(1000 * seed + i)
        level = draw.choice(["1st class", "2nd class", "crew"])
        age = draw.choice(["", "NA", *(str(draw.randint(1, 90)) for _ in range(6))])
        survived = draw.random() < {"1st class": 0.9, "2nd class": 0.5, "crew": 0.1}[level]
        fare, day = f"${draw.randint(900, 5000):,}", f"2024-0{draw.randint(1, 9)}-1{draw.randint(0, 9)}"
        rows.append([str(i + 1), level, age, fare, day, f"note {seed} {i}", "yes" if survived else "no"])
    return rows


def write(path: Path, rows: list[list[str]]) -> Path:
    """As R writes it."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return path


@pytest.fixture(scope="module")
def once(gradsieve, tmp_path_factory):
    """A folder with a table and a lake with one run of it, and what that printed; kept as they are then."""
    home = tmp_path_factory.mktemp("people") / "home"
    home.mkdir()
    path = write(home / "people.csv", rows_of(300))
    done = gradsieve("clean", f"--reader.path={path}", *OPTIONS, "--lake", str(home / "lake"))
    assert done.returncode == 0, done.stderr
    return State((home, done.stdout), home, Objects(home / "lake" / "versions"))


@pytest.fixture
def first(once):
    """A folder with one run in its lake, and what that printed."""
    return once.get()


def _payloads(lake: Path) -> list[dict]:
    runs = sorted((lake / "runs").iterdir())
    return [json.loads((run / "run.json").read_text())["facts"]["samples"]["payload"] for run in runs]


def test_the_summary_says_how_each_column_is_read_and_which_are_not(first):
    _, printed = first
    assert "inputs: class (category, 3 values), age (number, " in printed
    assert "fare (written number), joined (date)" in printed
    note = "note (text that differs in every row; --reader.text note reads it)"
    assert f"not used: '' (a row number by its name); {note}" in printed


def test_columns_are_asked_in_sql(first):
    home, _ = first
    with connect(home / "lake") as db:
        found = db.execute("SELECT name, role, kind FROM columns").fetchall()
    assert found == [
        ("survived", "label", "class"),
        ("", "index", "number"),
        ("class", "input", "category"),
        ("age", "input", "number"),
        ("fare", "input", "written number"),
        ("joined", "input", "date"),
        ("note", "text", "text"),
    ]


def test_a_sheet_to_be_answered_by_hand_shows_what_stands_in_each_row(first, gradsieve):
    home, _ = first
    assert gradsieve("review", "latest", "--sample", "9", "--lake", str(home / "lake")).returncode == 0
    (sheet,) = (home / "lake" / "reviews").glob("*-sample-9/sample.csv")
    rows = rows_of(300)
    with sheet.open(newline="") as file:
        drawn = list(csv.DictReader(file))
    assert len(drawn) == 9
    for row in drawn:
        _, level, age, _, day, _, _ = rows[int(row["row"])]
        assert f"class: {level}; " in row["inputs"]
        assert day in row["inputs"]
        assert not age.isdigit() or f"age: {age}" in row["inputs"]


def test_a_version_has_the_words_as_they_came_and_its_ids_follow_from_them(first, gradsieve):
    home, _ = first
    where = ("--dataset=people", "--lake", str(home / "lake"))
    done = gradsieve("versions", "export", "latest", "--to", str(home / "out"), *where)
    assert done.returncode == 0, done.stderr
    exported = [row for path in (home / "out").rglob("*.parquet") for row in pq.read_table(path).to_pylist()]
    assert len(exported) > 200
    came = {row[0]: dict(zip(HEADER, row, strict=True)) for row in rows_of(300)}
    for row in exported:
        for name in ("class", "fare", "joined", "note"):
            assert row[name] == came[row[""]][name]
        assert (row["age"] is None) == (came[row[""]]["age"] in ("", "NA"))
    verified = gradsieve("versions", "verify", "latest", *where)
    assert "ids follow from their inputs" in verified.stdout, verified.stdout + verified.stderr


def test_a_live_dataset_gives_what_networks_were_given(first):
    home, _ = first
    lake = home / "lake"
    live = LiveDataset(lake / "versions", "people", "latest")
    (payload,) = _payloads(lake)
    read = Payload.model_validate(payload)
    (run,) = (lake / "runs").iterdir()
    table = pa.concat_tables([pq.read_table(path) for path in sorted((run / "samples").glob("train-*"))])
    (batch,) = table.combine_chunks().to_batches()
    expected = to_array(batch.select(list(read.columns)), read)
    at = {name: i for i, name in enumerate(table["sample_id"].to_pylist())}
    assert live.tensors.x.shape[1:] == tuple(read.shape)
    assert np.array_equal(live.tensors.x.numpy(), expected[[at[name] for name in live.tensors.ids]])


def test_a_night_later_the_bases_encoders_are_kept_as_long_as_they_serve(gradsieve, first):
    home, _ = first
    lake, path = home / "lake", home / "people.csv"
    options = (f"--reader.path={path}", *OPTIONS, "--lake", str(lake))
    stowaway = ["999", "stowaway", "", "$1,000", "2024-05-15", "another note", "no"]
    write(path, [*rows_of(300), *rows_of(40, seed=1), stowaway])
    later = gradsieve("clean", *options, "--base=latest")
    assert later.returncode == 0, later.stderr
    before, after = _payloads(lake)
    assert before == after, "medians and categories are the base's"
    write(path, [*rows_of(300), *(["", "stowaway", *row[2:]] for row in rows_of(60, seed=2))])
    refused = gradsieve("clean", *options, "--base=latest")
    assert refused.returncode == 3
    assert "the samples' payload" in refused.stderr
    anew = gradsieve("clean", *options, "--base=auto")
    assert anew.returncode == 0, anew.stderr
    assert _payloads(lake)[-1]["encoders"][0]["values"] == ["1st class", "2nd class", "crew", "stowaway"]
