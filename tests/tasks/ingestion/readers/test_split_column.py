"""A column called split whose values are usual names of splits is the source's split, though nobody names it."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.ingestion import inspect as looked
from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers.parquet import Parquet
from tests.support.written_tables import WRITERS, csv_of, parquet_of

N = 60
NAMES = ["train", "Training", "val", "test", "train", "EVAL"] * (N // 6)
OURS = ["train", "train", "validation", "test", "train", "test"] * (N // 6)


def _table(split: list, name: str = "split", **columns: list) -> pa.Table:
    numbers = np.random.default_rng(0).normal(size=len(split))
    labels = ["cat", "dog", "cat", "dog", "dog", "cat"] * (len(split) // 6)
    return pa.table({"a": numbers, name: split, "label": labels} | columns)


@pytest.mark.parametrize("kind", WRITERS)
def test_it_says_the_splits_as_if_it_were_named(read, tmp_path, kind):
    reader = WRITERS[kind](tmp_path, _table(NAMES))
    found = read(reader)
    assert found.column("split") == OURS
    assert found.artefact.facts["notes"] == ["splits by the column split: train, validation, test"]
    assert found.artefact.facts["unused"] == []
    assert found.samples.equals(read(reader.model_copy(update={"split": "split"})).samples)
    seen = inspect(reader)
    assert seen.notes == found.artefact.facts["notes"]
    (column,) = [column for column in seen.columns if column.role == "split"]
    assert (column.name, column.why) == ("split", "called split, and every value is a usual name of one")


@pytest.mark.parametrize("name", ["Split", "SPLIT"])
def test_its_name_may_be_in_any_case(read, tmp_path, name):
    ingested = read(parquet_of(tmp_path, _table(NAMES, name)))
    assert ingested.column("split") == OURS
    assert ingested.artefact.facts["notes"] == [f"splits by the column {name}: train, validation, test"]


def test_of_text_it_says_the_splits_too(read, tmp_path):
    texts = [f"some words {i}" for i in range(N)]
    reader = parquet_of(tmp_path, _table(NAMES, body=texts)).model_copy(update={"text": "body"})
    assert read(reader).column("split") == OURS


def test_without_test_rows_validation_is_held_out_as_the_test(read, tmp_path):
    ingested = read(csv_of(tmp_path, _table(["train", "train", "dev"] * (N // 3))))
    assert ingested.column("split") == ["train", "train", "test"] * (N // 3)
    assert "validation serves as the held-out test" in ingested.artefact.facts["notes"][1]


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ([*NAMES[:-1], "holdout"], "'holdout' is no usual name of a split"),
        ([*NAMES[:-1], ""], "some of its cells are empty"),
        (["train"] * N, "every row says train"),
        (["test", "val"] * (N // 2), "every row says validation, test"),
        (["A", "B"] * (N // 2), "'A' is no usual name of a split"),
    ],
)
def test_what_says_anything_else_is_carried_and_told_with_what_to_type(read, tmp_path, values, why):
    reader = csv_of(tmp_path, _table(values))
    ingested = read(reader)
    assert ingested.column("original_split") == values
    (unused,) = ingested.artefact.facts["unused"]
    assert unused == {"column": "split", "reason": "a name of gradsieve's own; --reader.split split for its own splits"}
    (note,) = ingested.artefact.facts["notes"]
    assert note.startswith(f"rows are split anew, and not by the column split, for {why} (--reader.split split takes")
    assert inspect(reader).notes == [note]


def test_a_limit_asks_the_rows_that_are_read(read, tmp_path):
    reader = csv_of(tmp_path, _table([*NAMES[:-1], "holdout"])).model_copy(update={"limit": N - 1})
    assert read(reader).column("split") == OURS[:-1]


def test_an_option_and_the_names_of_files_come_first(read, tmp_path):
    for name in ("train", "test"):
        (tmp_path / "set").mkdir(exist_ok=True)
        pq.write_table(_table(NAMES), tmp_path / "set" / f"{name}.parquet")
    ingested = read(Parquet(path=tmp_path / "set"))
    assert ingested.column("split") == ["test"] * N + ["train"] * N
    assert ingested.column("original_split") == NAMES * 2
    featured = read(csv_of(tmp_path, _table(NAMES)).model_copy(update={"features": ["split", "a"]}))
    assert featured.column("split") != OURS


def test_of_a_large_source_a_look_asks_the_first_rows(tmp_path, monkeypatch):
    names = ["train"] * 12_000 + ["test"] * 12_000
    monkeypatch.setattr(looked, "MOST_BYTES", 50_000)
    seen = inspect(parquet_of(tmp_path, _table(names)))
    assert seen.notes[0].startswith("splits by the column split")
    assert not seen.whole
