"""Opinions from outside: a good one finds more, a changed one recomputes scores, a broken one ends the run at once."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

CLASSES = [str(digit) for digit in range(10)]


@pytest.fixture(scope="module")
def options(small):
    return [*small, "--detectors=fusion,margin", "--verification.seeds=1"]


@pytest.fixture(scope="module")
def lake(gradsieve, options, tmp_path_factory):
    """With a run that was given no opinion."""
    lake = tmp_path_factory.mktemp("opinions") / "lake"
    done = gradsieve("clean", "--lake", str(lake), *options)
    assert done.returncode == 0, done.stderr
    return lake


@pytest.fixture(scope="module")
def write(lake, tmp_path_factory):
    """Write what a model thinks that is right in this share of the samples → the file's path."""
    (run,) = (lake / "runs").glob("digits-*")
    paths = sorted((run / "samples").glob("*.parquet"))
    table = pa.concat_tables([pq.read_table(path, columns=["sample_id", "label", "clean_label"]) for path in paths])
    truth = [clean or label for clean, label in zip(table["clean_label"], table["label"], strict=True)]
    folder = tmp_path_factory.mktemp("files")

    def written(name, right, seed=0):
        generator = np.random.default_rng(seed)
        guess = np.where(
            generator.random(len(truth)) < right, [int(str(t)) for t in truth], generator.integers(0, 10, len(truth))
        )
        p = 0.3 * generator.dirichlet(np.full(10, 0.5), len(truth)) + 0.7 * np.eye(10)[guess]
        columns = {"sample_id": table["sample_id"]} | dict(zip(CLASSES, p.T, strict=True))
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        return folder / f"{name}.parquet"

    return written


def clean(gradsieve, lake, options, *opinions):
    """(the finished process, run.json of the run it recorded; nothing where it recorded none)."""
    before = set((lake / "runs").glob("digits-*"))
    named = [f"--opinions={','.join(map(str, opinions))}"] if opinions else []
    done = gradsieve("clean", "--lake", str(lake), *options, *named)
    recorded = set((lake / "runs").glob("digits-*")) - before
    return done, json.loads((recorded.pop() / "run.json").read_text()) if recorded else {}


@pytest.fixture(scope="module")
def informed(gradsieve, lake, options, write):
    """(the run before it, a run that was given two opinions, its run.json, what SQL says of them right after it)."""
    (alone,) = (lake / "runs").glob("digits-*")
    done, run = clean(gradsieve, lake, options, write("clip", 0.9), write("judge", 0.6, seed=1))
    asked = gradsieve(
        "sql", "--lake", str(lake), "SELECT opinion, count(*) AS n FROM latest.opinions GROUP BY ALL", "--format=json"
    )
    return alone, done, run, asked


def precision_of(run):
    return run["facts"]["metrics"]["detection"]["fusion"]["average_precision"]


def test_a_good_opinion_finds_more_and_recomputes_scores_and_nothing_before(informed):
    alone, done, run, _ = informed
    assert done.returncode == 0, done.stderr
    missed = [1 - precision_of(each) for each in (json.loads((alone / "run.json").read_text()), run)]
    assert missed[1] < 0.6 * missed[0]
    assert "opinion clip speaks of" in done.stdout
    assert "opinion clip" in run["facts"]["scores"]["about"]["fusion"]["weights"]
    recomputed = done.stdout.strip().splitlines()[-1].partition(";")[0]
    assert recomputed.startswith("recomputed opinions, scores, flags")


def test_a_changed_file_recomputes_scores_and_the_same_one_nothing(gradsieve, lake, options, write, informed):
    _, first, *_ = informed
    again, _ = clean(gradsieve, lake, options, write("clip", 0.9), write("judge", 0.6, seed=1))
    other, run = clean(gradsieve, lake, options, write("clip", 0.9, seed=5), write("judge", 0.6, seed=1))
    assert first.returncode == other.returncode == 0, first.stderr + other.stderr
    assert "nothing recomputed" in again.stdout, again.stdout
    assert other.stdout.strip().splitlines()[-1].startswith("recomputed opinions, scores")
    (opinions,) = (stage for stage in run["stages"] if stage["stage"] == "opinions")
    assert opinions["facts"]["opinions"][0]["silent"] == 0


def test_what_an_opinion_says_can_be_asked_in_sql(informed):
    *_, asked = informed
    for name in ("clip", "judge"):
        assert name in asked.stdout, asked.stderr


def test_a_broken_file_ends_the_run_before_anything_is_trained(gradsieve, lake, options, write, tmp_path):
    table = pq.read_table(write("whole", 0.9))
    pq.write_table(table.drop_columns(["7"]), tmp_path / "broken.parquet")
    done, run = clean(gradsieve, lake, [*options, "--training.seed=77"], tmp_path / "broken.parquet")
    assert done.returncode == 3
    assert run == {}
    assert "expected a column of probabilities for each of 10 classes, got no column 7" in done.stderr
    assert "train fold" not in done.stderr
    missing, _ = clean(gradsieve, lake, options, tmp_path / "nowhere.csv")
    assert missing.returncode == 3
    assert "no such file" in missing.stderr


def test_a_detector_of_opinions_without_any_is_refused_at_once(gradsieve, lake, small):
    done = gradsieve("clean", "--lake", str(lake), *small, "--detectors=opinion")
    assert done.returncode == 2
    assert "--opinions" in done.stderr
