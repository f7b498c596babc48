"""A search tries its budgets on the validation split, verifies the one that is left, and shows what it tried."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

BUDGETS = '[{"kind": "share", "options": {"share": 0.3}}, {"kind": "share", "options": {"share": 0.02}}]'
SEARCH = ["--budget.share=0.1", f"--search.budgets={BUDGETS}", "--verification.remedy=relabel"]
SPLIT = ["--reader.validation-share=0.2", "--reader.noise.share=0.2"]


@pytest.fixture(scope="module")
def searched(gradsieve, small, tmp_path_factory):
    lake = tmp_path_factory.mktemp("search") / "lake"
    done = gradsieve("clean", "--lake", str(lake), *small, *SEARCH, *SPLIT)
    assert done.returncode == 0, done.stderr
    (run,) = (lake / "runs").glob("digits-*")
    return lake, run, done.stdout


def test_what_was_tried_and_what_was_kept_stand_in_a_table(searched):
    _, run, text = searched
    rows = pq.read_table(run / "search.parquet").to_pylist()
    first = [row for row in rows if row["rung"] == 1]
    second = [row for row in rows if row["rung"] == 2]
    assert {row["budget"] for row in first} == {"share_0.1", "share_0.3", "share_0.02"}
    assert {row["budget"] for row in second} == {row["budget"] for row in first if row["kept"]}
    assert len(second) == 8
    (winner,) = {row["budget"] for row in second if row["kept"]}
    about = json.loads((run / "run.json").read_text())
    assert about["facts"]["search"]["names"] == [winner]
    assert f"budget {winner}, chosen on the validation split in 2 rounds" in text
    # What is verified and published is what was chosen.
    (flagged,) = {row["flagged"] for row in second if row["kept"]}
    assert about["flagged"] == flagged == sum(pq.read_table(run / "flags.parquet")["flag"].to_pylist())


def test_the_verdict_of_a_run_stands_in_its_record(searched):
    _, run, text = searched
    about = json.loads((run / "run.json").read_text())
    verdict = about["facts"]["metrics"]["verdict"]
    assert (about["verdict"], verdict["arm"]) == ("no evidence", "relabelled")  # one seed
    assert about["accuracy_relabelled"] == about["facts"]["metrics"]["accuracy"]["relabelled"]
    assert "verdict: no evidence: one seed says nothing of the noise of training" in text
    examined = pq.read_table(run / "examination.parquet")["split"].to_pylist()
    splits = about["facts"]["samples"]["splits"]
    assert {split: examined.count(split) for split in set(examined)} == {
        split: splits[split] for split in ("test", "validation")
    }


def test_a_second_search_trains_nothing(gradsieve, small, searched):
    lake, _, _ = searched
    again = gradsieve("clean", "--lake", str(lake), *small, *SEARCH, *SPLIT)
    assert "nothing recomputed" in again.stdout


def test_a_search_without_a_validation_split_is_refused_before_anything_is_trained(gradsieve, small, tmp_path):
    done = gradsieve("clean", "--lake", str(tmp_path), *small, *SEARCH)
    assert done.returncode == 3, done.stderr
    assert "validation_share" in done.stderr
    assert not list((tmp_path / "cache").glob("checkpoints-*"))
