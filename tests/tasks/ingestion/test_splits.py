"""Splits of small classes and of tables with few different rows; contradictions; one spelling for one class."""

from __future__ import annotations

import unicodedata
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.dataset.samples import split_of
from tasks.ingestion.ingest import ingest
from tasks.ingestion.label_forms import LabelForms, canonical, case_variants
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run
from tasks.pipeline.recorded_run import reference
from tasks.planning.make_folds import make_folds


class Ingested:
    """A table that has been read."""

    def __init__(self, folder: Path, table: pa.Table, **options: Any) -> None:
        folder.mkdir(exist_ok=True)
        path = folder / "table.parquet"
        pq.write_table(table, path)
        self.run = Run.start(folder / "lake", "test")
        self.artefact = ingest.fn(self.run, Parquet(path=path, **options), Ingestion())
        files = self.run.paths(self.artefact, ".parquet", "samples")
        self.samples = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()
        self.facts = self.artefact.facts

    @property
    def copies(self) -> list[dict]:
        return pq.read_table(self.run.paths(self.artefact, "copies.parquet")[0]).to_pylist()

    def splits_by_row(self) -> dict[int, str]:
        return {sample["row"]: sample["split"] for sample in self.samples}


def table_of(rows: int, seed: int = 0, **columns: list) -> pa.Table:
    generator = np.random.default_rng(seed)
    return pa.table({"x": generator.normal(size=rows), "y": generator.normal(size=rows)} | columns)


# ---- splits ------------------------------------------------------------------------------------------------------


def test_thousands_of_small_classes_lose_none(tmp_path):
    labels = [f"sku{i % 700}" for i in range(2100)]
    read = Ingested(tmp_path, table_of(2100, label=labels))
    assert read.facts["rejects"] == {}
    assert len(read.facts["classes"]) == 700
    trained_on = Counter(sample["label"] for sample in read.samples if sample["split"] == "train")
    assert min(trained_on[name] for name in set(labels)) == 2
    tested = {sample["label"] for sample in read.samples if sample["split"] == "test"}
    assert 250 < len(tested) < 400
    assert set(read.facts["untested_classes"]) == set(labels) - tested


def test_a_row_keeps_its_split_when_one_in_a_hundred_more_comes(tmp_path):
    labels = [f"c{i % 7}" for i in range(3030)]
    whole = table_of(3030, label=labels)
    before = Ingested(tmp_path / "a", whole.slice(0, 3000)).splits_by_row()
    after = Ingested(tmp_path / "b", whole).splits_by_row()
    assert {row: after[row] for row in before} == before
    assert len(after) == 3030


def few(rows: int, seed: int = 0) -> pa.Table:
    """Six combinations of values, and labels that are drawn by them."""
    generator = np.random.default_rng(seed)
    one, two = generator.integers(0, 2, rows), generator.integers(0, 3, rows)
    labels = np.where(generator.random(rows) < 0.2 + 0.2 * two, "yes", "no")
    return pa.table({"one": one, "two": two, "label": labels})


def test_equal_rows_of_a_table_of_few_are_dealt_among_the_splits_and_told_as_repeats(tmp_path):
    read = Ingested(tmp_path, few(1200))
    assert read.facts["repeats"] == 6
    assert read.facts["leaking_duplicates"] == 0
    by_content = {name: Counter() for name in {s["sample_id"].partition("-")[0] for s in read.samples}}
    for sample in read.samples:
        by_content[sample["sample_id"].partition("-")[0]][sample["split"]] += 1
    assert len(by_content) == 6
    for counts in by_content.values():
        assert 0.1 < counts["test"] / counts.total() < 0.3
    assert {copy["kind"] for copy in read.copies} == {"repeat"}


def test_repeats_keep_their_split_when_more_come(tmp_path):
    whole = few(1212)
    before = Ingested(tmp_path / "a", whole.slice(0, 1200)).splits_by_row()
    after = Ingested(tmp_path / "b", whole).splits_by_row()
    assert {row: after[row] for row in before} == before


def test_repeats_are_dealt_among_the_folds_and_copies_are_not(tmp_path):
    def folds_of(table: pa.Table, folder: Path) -> dict[str, set[int]]:
        read = Ingested(folder, table)
        train = split_of(read.artefact, "train")
        artefact = make_folds.fn(read.run, train, 3, reference(read.run, None))
        contents: dict[str, set[int]] = {}
        for row in pq.read_table(read.run.path(artefact)).to_pylist():
            contents.setdefault(row["sample_id"].partition("-")[0], set()).add(row["fold"])
        return contents

    assert all(len(folds) == 3 for folds in folds_of(few(900), tmp_path / "few").values())
    once = table_of(300, label=["a", "b"] * 150)
    assert all(len(folds) == 1 for folds in folds_of(pa.concat_tables([once, once]), tmp_path / "twice").values())


def test_a_file_that_is_set_aside_is_never_trained_on_whatever_a_column_of_it_says(tmp_path):
    said = table_of(200, label=["a", "b"] * 100, part=["train", "train", "test", "train"] * 50)
    for name, table in (("refs", said), ("bare", said.drop_columns("part"))):
        pq.write_table(table, tmp_path / f"{name}.parquet")
        read = Ingested(tmp_path / name, said, split="part", reference_path=tmp_path / f"{name}.parquet")
        assert read.facts["splits"] == {"train": 150, "validation": 200, "test": 50}


def test_a_limit_is_of_the_training_rows_and_leaves_the_reference_whole(tmp_path):
    pq.write_table(table_of(60, seed=1, label=["a", "b"] * 30), tmp_path / "refs.parquet")
    table = table_of(9000, label=["a", "b"] * 4500)
    read = Ingested(tmp_path / "limited", table, limit=100, reference_path=tmp_path / "refs.parquet")
    assert read.facts["splits"]["validation"] == 60
    assert sum(read.facts["splits"].values()) == 160


def test_a_label_that_stands_once_moves_no_copy_of_its_row(tmp_path):
    table = table_of(400, label=["a", "b"] * 200)
    before = Ingested(tmp_path / "before", table).splits_by_row()
    held_out = [row for row, split in before.items() if split == "test"][:10]
    typos = table.take(held_out).set_column(2, "label", [[f"typo {row}" for row in held_out]])
    read = Ingested(tmp_path / "after", pa.concat_tables([table, typos]))
    after = read.splits_by_row()
    assert {row: after[row] for row in before} == before
    assert sum(read.facts["rejects"].values()) == 10
    assert read.facts["duplicates"] == 0


def test_a_missing_group_is_no_group(tmp_path):
    groups = [None if i % 2 else f"g{i % 20}" for i in range(600)]
    marked = ["NA" if group is None else group for group in groups]
    reads = [
        Ingested(tmp_path / name, table_of(600, label=["a", "b", "b"] * 200, site=site), group="site").splits_by_row()
        for name, site in (("null", groups), ("marked", marked))
    ]
    assert reads[0] == reads[1]


# ---- contradictions ----------------------------------------------------------------------------------------------


def test_rows_of_the_same_inputs_under_other_labels_are_counted_and_listed(tmp_path):
    table = table_of(200, label=["a", "b"] * 100)
    again = pa.concat_tables([table, table.slice(0, 5), table.slice(0, 2).set_column(2, "label", [["b", "a"]])])
    read = Ingested(tmp_path, again)
    assert read.facts["duplicates"] == 7
    assert read.facts["contradictions"] == {"samples": 6, "contents": 2}
    by_id = {sample["sample_id"]: sample for sample in read.samples}
    assert len(read.copies) == 3 * 2 + 3
    for copy in read.copies:
        assert copy["sample_id"] != copy["other_id"]
        assert copy["sample_id"].partition("-")[0] == copy["other_id"].partition("-")[0]
        assert by_id[copy["sample_id"]]["label"] == copy["label"]
        assert by_id[copy["other_id"]]["label"] == copy["other_label"]
        assert by_id[copy["other_id"]]["split"] == copy["other_split"]
    assert sum(copy["label"] != copy["other_label"] for copy in read.copies) == 6


# ---- labels ------------------------------------------------------------------------------------------------------


def test_one_class_written_in_several_ways_is_one_and_counted(tmp_path):
    composed = unicodedata.normalize("NFC", "Äpfel")
    labels = [composed, unicodedata.normalize("NFD", "Äpfel"), "1", "1.0", "pear", "Pear"] * 30
    read = Ingested(tmp_path, table_of(180, label=labels))
    assert read.facts["classes"] == ["1", "Pear", "pear", composed]
    merged = {(form["given"], form["label"]): form["rows"] for form in read.facts["label_forms"]}
    assert merged == {("1.0", "1"): 30, (unicodedata.normalize("NFD", "Äpfel"), composed): 30}
    assert read.facts["case_variants"] == [["Pear", "pear"]]


@pytest.mark.parametrize("kind", [pa.float64(), pa.float32(), pa.int8(), pa.string()])
def test_whole_numbers_are_the_same_classes_in_every_type(tmp_path, kind):
    labels = pa.array([float(i % 3) for i in range(90)]).cast(kind)
    assert Ingested(tmp_path, table_of(90, label=labels)).facts["classes"] == ["0", "1", "2"]


def test_nan_is_a_label_too_where_no_mark_stands_for_none(tmp_path):
    labels = ["NaN", "nan", "a", "b"] * 30
    assert Ingested(tmp_path, table_of(120, label=labels)).facts["rejects"] == {"missing label": 60}
    assert Ingested(tmp_path / "b", table_of(120, label=labels), missing=[]).facts["classes"] == [
        "NaN",
        "a",
        "b",
        "nan",
    ]


@pytest.mark.parametrize(("target", "label"), [("number", "1.5"), ("labels", "1.5|2.5")])
def test_marks_of_no_label_are_missing_labels_of_every_target(tmp_path, target, label):
    labels = (["NA"] + [label, "2.5", "7"] * 3) * 12
    assert Ingested(tmp_path, table_of(120, label=labels), target=target).facts["rejects"] == {"missing label": 12}


def test_marks_of_no_label_are_rejected_unless_they_are_switched_off(tmp_path):
    labels = (["NA", "BW"] * 3 + ["ZA", "BW", "ZA", "?"] * 60)[:240]
    read = Ingested(tmp_path, table_of(240, label=labels))
    assert read.facts["rejects"] == {"missing label": 3}
    assert read.facts["doubtful_labels"] == ["?"]
    read = Ingested(tmp_path / "namibia", table_of(240, label=labels), missing=[])
    assert read.facts["rejects"] == {}
    assert read.facts["classes"] == ["?", "BW", "NA", "ZA"]


@given(st.lists(st.one_of(st.none(), st.text(max_size=6), st.integers(-99, 99).map(lambda i: f"{i}.0")), max_size=20))
def test_the_known_form_is_one_for_all_spellings_and_stays_what_it_is(labels):
    known = canonical(pa.array(labels, pa.string()))
    assert known.equals(canonical(known))
    decomposed = [None if label is None else unicodedata.normalize("NFD", label) for label in labels]
    assert canonical(pa.array(decomposed, pa.string())).to_pylist() == known.to_pylist()
    forms = LabelForms()
    forms.add(pa.array(labels, pa.string()), known)
    pairs = zip(labels, known.to_pylist(), strict=True)
    assert forms.counts == Counter((a, b) for a, b in pairs if a is not None and b is not None and a != b)


def test_classes_that_differ_in_case_alone_are_grouped():
    assert case_variants(["a", "B", "b", "straße", "STRASSE", "c"]) == [["B", "b"], ["STRASSE", "straße"]]
