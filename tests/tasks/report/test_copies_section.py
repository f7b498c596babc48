"""The page shows each pair of copies once, those of other labels first; the summary counts them."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.dataset.payload import Payload
from tasks.ingestion.copies import COPIES
from tasks.report.copies_section import copies_section, shown_copies
from tasks.report.data_lines import copy_lines


def copy(a: str, b: str, kind: str, distance: float, splits: str, labels: str | tuple[str, str]) -> dict[str, object]:
    values = (a, b, kind, distance, *splits.split("/"), *labels)
    return dict(zip(COPIES.names, values, strict=True))


EXACT = [
    copy("a-1", "a", "exact", 0.0, "train/train", "xx"),
    copy("b-1", "b", "exact", 0.0, "test/train", "xx"),
    copy("c-1", "c", "exact", 0.0, "train/train", "xy"),
    copy("c", "c-1", "exact", 0.0, "train/train", "yx"),
    copy("r-1", "r", "repeat", 0.0, "train/train", "xy"),
    copy("s-1", "s", "alike", 0.1, "train/train", "xy"),
]
NEAR = [
    copy("d", "e", "near", 0.1, "train/test", "xy"),
    copy("e", "d", "near", 0.1, "test/train", "yx"),
    copy("f", "g", "near", 0.2, "train/train", "xy"),
]


def test_each_pair_is_shown_once_the_surest_first(tmp_path):
    pq.write_table(pa.Table.from_pylist(EXACT, COPIES), tmp_path / "copies.parquet")
    pq.write_table(pa.Table.from_pylist(NEAR, COPIES), tmp_path / "near_copies.parquet")
    section = copies_section(tmp_path)
    shown = [(row["sample_id"], row["other_id"]) for row in section["pairs"]]
    assert shown == [("c", "c-1"), ("d", "e"), ("f", "g"), ("b-1", "b"), ("a-1", "a")]
    assert section["count"] == 5
    assert section["pairs"][1] == NEAR[0]
    assert copies_section(tmp_path, most=2) == {"pairs": section["pairs"][:2], "count": 5}


def test_numbers_that_hardly_differ_are_not_shown_first(tmp_path):
    pairs = [
        copy("a", "b", "near", 0.1, "train/train", ("1.5", "1.6")),
        copy("c", "d", "near", 0.2, "train/train", ("1.5", "9")),
    ]
    pq.write_table(pa.Table.from_pylist(pairs, COPIES), tmp_path / "near_copies.parquet")
    assert [row["sample_id"] for row in copies_section(tmp_path)["pairs"]] == ["a", "c"]
    (tmp_path / "run.json").write_text('{"facts": {"copies": {"tolerance": 0.5}}}')
    assert [row["sample_id"] for row in copies_section(tmp_path)["pairs"]] == ["c", "a"]


def test_both_of_a_pair_are_shown_whatever_their_split_and_one_that_was_left_out_by_its_name(tmp_path):
    payload = Payload(kind="array", columns=("x", "y"), shape=(2,), dtype="float32").model_dump(mode="json")
    for split, name in (("train", "d"), ("test", "e")):
        sample = {"sample_id": name, "source": "t.csv", "row": 7, "source_id": None, "split": split, "label": name}
        (tmp_path / "samples").mkdir(exist_ok=True)
        table = pa.Table.from_pylist([sample | {"x": 1.5, "y": 2.0}])
        pq.write_table(table, tmp_path / "samples" / f"{split}-00000.parquet")
    pairs = [NEAR[0], copy("e", "gone", "near", 0.1, "test/train", "xy")]
    pq.write_table(pa.Table.from_pylist(pairs, COPIES), tmp_path / "near_copies.parquet")
    first, second = shown_copies(tmp_path, {"payload": payload})["pairs"]
    shown = {"name": "t.csv row 7", "cells": {"x": "1.5", "y": "2"}}
    assert first["looks"] == [shown | {"label": "d", "split": "train"}, shown | {"label": "e", "split": "test"}]
    assert second["looks"][1] == {"name": "gone", "label": "", "split": "train"}


def test_a_run_that_found_no_copies_has_nothing_to_show(tmp_path):
    assert copies_section(tmp_path) == {"pairs": [], "count": 0}
    pq.write_table(COPIES.empty_table(), tmp_path / "copies.parquet")
    assert copies_section(tmp_path) == {"pairs": [], "count": 0}


NOTHING = {"near": {"pairs": 0, "samples": 0}, "contradictions": 0, "leaks": {}, "left_out": {}, "skipped": {}}


def test_a_summary_counts_what_was_found_what_was_left_out_and_what_could_not_be_compared():
    facts = {"duplicates": 0}
    assert copy_lines(facts) == copy_lines(facts, NOTHING) == []
    copies = NOTHING | {
        "near": {"pairs": 700, "samples": 1200},
        "contradictions": 7,
        "leaks": {"exact": 5, "near": 40},
        "left_out": {"near copy of a test sample": 3, "exact copy of a test sample": 1},
        "emptied": ["emu"],
        "skipped": {"pictures of one colour": 2},
    }
    assert copy_lines(facts, copies, apart=6) == [
        "1,200 samples have near copies (view copies); 40 held-out samples have theirs in train",
        "7 samples have a near copy under another label: look at these first (view contradictions)",
        "6 pairs of near copies share no fold: a crowd of them, or a base, holds them apart",
        "4 training samples left out by copies.remove: near copy of a test sample 3, exact copy of a test sample 1",
        "1 label has no training sample left, for all were copies: emu",
        "not compared, to find near copies: pictures of one colour 2",
    ]


def test_a_summary_says_of_a_fixed_camera_that_nothing_follows():
    copies = NOTHING | {"near": {"pairs": 900, "samples": 1200}, "alike": {"pictures": 1150, "of": 1300}}
    assert copy_lines({"duplicates": 0}, copies) == [
        "1,150 of 1,300 pictures look nearly alike: a fixed camera or a series; near copies are told and share "
        "nothing, and none is left out"
    ]
