"""Night after night: only what is new is worked on, until it drifts or the networks are too old; then all is anew."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from sklearn.datasets import load_digits

from tasks.ingestion.readers.csv import Csv
from tasks.pipeline.artefacts import Run
from tasks.training.base_run import WantedBase, base_for, base_of, stages_of
from tasks.training.drift_policy import DriftPolicy
from tasks.training.models.mlp import Mlp
from tasks.training.recipe import Recipe, Training

OPTIONS = [
    "--reader.label=digit", "--model.kind=mlp", "--model.hidden=32", "--training.epochs=8", "--training.device=cpu",
    "--folds=2", "--canaries.share=0", "--detectors=margin,iforest,neighbours", "--budget.kind=share",
    "--verification.seeds=1", "--base=auto",
]  # fmt: skip


def write(path: Path, rows: int, relabelled: range = range(0)) -> Path:
    """The first digits as CSV, the labels of some of them drawn at random."""
    digits, draw = load_digits(), random.Random(0)
    lines = [",".join([*(f"p{i}" for i in range(64)), "digit"])]
    for i in range(rows):
        label = draw.randrange(10) if i in relabelled else digits.target[i]
        lines.append(",".join([*map(str, digits.data[i].astype(int)), f"d{label}"]))
    path.write_text("\n".join(lines) + "\n")
    return path


class Nights:
    """A lake that is cleaned every night."""

    def __init__(self, gradsieve, home: Path) -> None:
        self.gradsieve, self.lake, self.source = gradsieve, home / "lake", home / "digits.csv"
        self.runs: list[str] = []

    def run(self, rows: int, *options: str, relabelled: range = range(0)) -> dict:
        """Facts of the night's run."""
        source = write(self.source, rows, relabelled)
        done = self.gradsieve("clean", "--lake", str(self.lake), "--reader.path", str(source), *OPTIONS, *options)
        assert done.returncode == 0, done.stderr
        self.said = done.stdout + done.stderr
        (new,) = {path.parent.name for path in (self.lake / "runs").glob("*/run.json")} - {*self.runs}
        self.runs.append(new)
        return json.loads((self.lake / "runs" / new / "run.json").read_text())["facts"]

    def scores(self, night: int) -> dict[str, tuple]:
        table = pq.read_table(self.lake / "runs" / self.runs[night] / "scores.parquet")
        rows = zip(*(table[name].to_pylist() for name in table.column_names), strict=True)
        return {name: scores for name, *scores in rows}


@pytest.fixture(scope="module")
def nights(gradsieve, tmp_path_factory):
    """A first night, one with rows like those before, and one with rows of random labels."""
    nights = Nights(gradsieve, tmp_path_factory.mktemp("nights"))
    nights.facts = [nights.run(600), nights.run(700), nights.run(800, relabelled=range(700, 800))]
    return nights


def test_the_first_night_has_no_base_and_nobody_is_new(nights):
    first = nights.facts[0]
    assert first["folds"]["networks_of"] is None
    # There is nothing to compare with, so nothing is.
    assert "drift" not in first


def test_rows_like_those_before_are_judged_by_the_same_networks_and_raise_no_alarm(nights):
    first, second = nights.facts[:2]
    assert second["folds"]["networks_of"] == nights.runs[0]
    added = second["samples"]["splits"]["train"] - first["samples"]["splits"]["train"]
    assert second["drift"]["new"] == added > 50
    assert not second["drift"]["alarm"]


def test_scores_of_the_samples_before_them_stay_as_they_were(nights):
    first, second = nights.scores(0), nights.scores(1)
    assert {name: second[name] for name in first} == first


def test_rows_with_random_labels_are_a_drift_since_the_first_night(nights):
    third = nights.facts[2]
    assert third["folds"]["networks_of"] == nights.runs[0]
    assert third["drift"]["new"] > nights.facts[1]["drift"]["new"]
    assert third["drift"]["alarm"]
    assert third["drift"]["share_flagged"]["new"] > 2 * third["drift"]["share_flagged"]["settled"]


def test_what_was_found_can_be_asked_in_sql(nights, gradsieve):
    asked = "SELECT alarm, new_samples > 0, networks_of IS NULL FROM drift ORDER BY run_id"
    done = gradsieve("sql", "--lake", str(nights.lake), "--format=csv", asked)
    assert done.returncode == 0, done.stderr
    rows = [line.lower() for line in done.stdout.splitlines()[1:]]
    assert rows == ["false,true,false", "true,true,false"]


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({}, None),
        ({"drift": DriftPolicy()}, "the latest run found a drift"),
        ({"drift": DriftPolicy(refit_on_drift=False, refit_days=1e-9)}, "days old"),
        ({"model": Mlp(hidden=[16])}, "option model"),
        ({"folds": 3}, "there are other folds"),
        ({"facts": {"classes": ["a", "b"]}}, "the samples' classes are others"),
        ({"dataset": "other"}, "first run of other: everything is trained"),
    ],
)
def test_what_cannot_be_built_upon_is_not_and_the_log_says_why(nights, caplog, changed, words):
    run = Run(lake=nights.lake, run_id="digits-now")
    (samples,) = stages_of(run, base_of(run, nights.runs[-1], "digits"), "samples")
    samples = samples.model_copy(update={"facts": samples.facts | changed.get("facts", {})})
    recipe = Recipe(model=changed.get("model", Mlp(hidden=[32])), training=Training(epochs=8, device="cpu"))
    given = {"samples": samples, "folds": 2, "drift": DriftPolicy(refit_on_drift=False)}
    given |= {name: value for name, value in changed.items() if name not in ("facts", "model", "dataset")}
    wanted = WantedBase("auto", changed.get("dataset", "digits"), Csv(path=nights.source, label="digit"))
    with caplog.at_level("INFO", "gradsieve"):
        base = base_for(run, wanted, **given, recipe=recipe)
    if words is None:
        assert base.facts["run"] == nights.runs[-1]
        assert "built upon" in caplog.text
    else:
        assert base.facts["run"] is None
        assert words in caplog.text
