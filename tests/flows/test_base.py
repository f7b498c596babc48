"""A run built upon another takes its folds, models and gradients over, and works on new or relabelled samples only."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from by_hand import extracted, trained
from sklearn.datasets import load_digits

from tasks.core.errors import BadArtefact, BadConfig, BadInput
from tasks.dataset.samples import split_of
from tasks.dataset.targets import target_of
from tasks.gradients.kinds.head import Head
from tasks.gradients.kinds.layers import Layers
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.two_passes import Ingestion
from tasks.kernels.folds import extend_folds
from tasks.pipeline.artefacts import Run
from tasks.planning.canaries import Canaries, canary_labels_of
from tasks.planning.make_folds import make_folds
from tasks.planning.neighbours import Neighbours
from tasks.planning.plan import Plan
from tasks.planning.plant import plant
from tasks.planning.vote import vote
from tasks.training.base_run import base_of, stages_of
from tasks.training.models.mlp import Mlp
from tasks.training.recipe import Recipe, Training

MODEL, TRAINING = Mlp(hidden=[6]), Training(epochs=1, device="cpu")
OPTIONS = ["--model.kind=mlp", "--model.hidden=6", "--training.epochs=1", "--training.device=cpu", "--folds=2"]
OLD = 500


def write(path: Path, rows: int, relabelled: int | None = None) -> Path:
    """The first digits as CSV, one of them with another label."""
    digits = load_digits()
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*(f"p{i}" for i in range(64)), "digit"])
        for i in range(rows):
            label = (digits.target[i] + (i == relabelled)) % 10
            writer.writerow([*digits.data[i].astype(int), f"d{label}"])
    return path


@pytest.fixture(scope="module")
def recorded(gradsieve, tmp_path_factory):
    """A lake with one recorded run on the first ``OLD`` digits."""
    lake = tmp_path_factory.mktemp("base") / "lake"
    source = write(lake.parent / "digits.csv", OLD)
    options = ["--reader.path", str(source), "--reader.label=digit", *OPTIONS, "--verification.seeds=1"]
    done = gradsieve("clean", "--lake", str(lake), *options, "--ingestion.shard-rows=64", "--detectors=l2")
    assert done.returncode == 0, done.stderr
    return lake


class Later:
    """Verbs of a later run on a copy of that lake."""

    def __init__(self, recorded: Path, home: Path, rows: int, base: str | None = "latest", relabelled=None) -> None:
        shutil.copytree(recorded, home / "lake")
        self.run = Run.start(home / "lake", "digits")
        self.base = base_of(self.run, base, "digits")
        reader = Csv(path=write(home / "digits.csv", rows, relabelled), label="digit")
        self.samples = ingest.fn(self.run, reader, Ingestion(shard_rows=64))

    def plan(self, folds=2):
        return make_folds.fn(self.run, split_of(self.samples, "train"), folds, self.base)

    def plant(self, folds, **options):
        votes = vote.fn(self.run, self.samples, Neighbours(), TRAINING.device)
        return plant.fn(self.run, split_of(self.samples, "train"), folds, votes, Canaries(**options), self.base)

    def planted(self, artefact):
        return canary_labels_of(self.run, artefact, target_of(self.samples))

    def extract(self, gradient=None, training=TRAINING, share=0.05):
        folds = self.plan()
        plan = Plan(folds=folds, canaries=self.plant(folds, share=share))
        recipe = Recipe(model=MODEL, training=training)
        checkpoints = trained(self.run, self.samples, plan, recipe, self.base)
        return checkpoints, extracted(self.run, self.samples, plan, checkpoints, recipe, gradient or Head(), self.base)

    def rows(self, artefacts, folder="gradients"):
        tables = [pa.ipc.open_file(p).read_all() for a in artefacts for p in self.run.paths(a, ".arrow", folder)]
        return {row["sample_id"]: row for table in tables for row in table.to_pylist()}


@pytest.fixture
def counted(monkeypatch):
    """How many samples gradients were taken of."""
    seen, real = [], Head.taker

    def taker(self, *arguments):
        take = real(self, *arguments)
        return lambda x, labels: (seen.append(len(x)), take(x, labels))[1]

    monkeypatch.setattr(Head, "taker", taker)
    return seen


def test_canaries_of_the_base_are_kept_and_taken_by_its_networks(recorded, tmp_path):
    later = Later(recorded, tmp_path, OLD + 60)
    (before,) = stages_of(later.run, later.base, "canaries")
    old, new = later.planted(before), later.planted(later.plant(later.plan(), share=0.2, seed=5))
    assert len(old) > 10
    for one, other in zip(old, new, strict=True):
        np.testing.assert_array_equal(one, other)
    _, shards = later.extract()
    rows = later.rows(shards, "canaries")
    assert rows.keys() == set(old.ids)
    earlier = later.rows(stages_of(later.run, later.base, "gradients"), "canaries")
    for name, row in rows.items():
        assert row["logits"] == pytest.approx(earlier[name]["logits"], rel=1e-4, abs=1e-6)
        assert row["target"] == earlier[name]["target"]


def test_a_base_without_canaries_gets_such_that_its_networks_have_not_learned(recorded, tmp_path, counted):
    later = Later(recorded, tmp_path, OLD)
    (run,) = (later.run.lake / "runs").glob("digits-*")
    about = json.loads((run / "run.json").read_text())
    about["stages"] = [stage for stage in about["stages"] if stage["stage"] != "canaries"]
    (run / "run.json").write_text(json.dumps(about))
    (run / "manifest.json").unlink()  # it knows the digest
    planted = later.planted(later.plant(later.plan(), share=0.2))
    assert len(planted) > 50
    assert not planted.networks.any()
    _, shards = later.extract(share=0.2)
    assert later.rows(shards, "canaries").keys() == set(planted.ids)
    # Only the second gradients are taken.
    assert sum(counted) == len(planted)
    assert later.rows(shards) == later.rows(stages_of(later.run, later.base, "gradients"))


def test_one_percent_more_samples_cost_one_percent(recorded, tmp_path, counted):
    later = Later(recorded, tmp_path, OLD + 10)
    checkpoints, shards = later.extract()
    before = stages_of(later.run, later.base, "gradients")
    old, new = later.rows(before), later.rows(shards)
    # And canaries, of the whole: their second gradient is always taken anew.
    assert sum(counted) - len(later.rows(shards, "canaries")) == len(new) - len(old) <= 10
    assert {name: new[name] for name in old} == old
    assert [c.digest for c in checkpoints] == [c.digest for c in stages_of(later.run, later.base, "checkpoints")]


def test_shards_that_the_base_has_byte_for_byte_are_not_compared_with_all_of_it(recorded, tmp_path, monkeypatch):
    later = Later(recorded, tmp_path, OLD)
    monkeypatch.setattr("tasks.gradients.reuse.BaseShard._compare", lambda *_: pytest.fail("all of the base was read"))
    _, shards = later.extract()
    assert later.rows(shards) == later.rows(stages_of(later.run, later.base, "gradients"))


def test_old_samples_keep_their_folds_and_new_ones_get_one(recorded, tmp_path):
    later = Later(recorded, tmp_path, OLD + 60)
    folds = pq.read_table(later.run.path(later.plan())).to_pydict()
    now = dict(zip(folds["sample_id"], folds["fold"], strict=True))
    (before,) = stages_of(later.run, later.base, "folds")
    earlier = pq.read_table(later.run.path(before)).to_pydict()
    assert all(now[name] == fold for name, fold in zip(earlier["sample_id"], earlier["fold"], strict=True))
    added = {fold for name, fold in now.items() if name not in set(earlier["sample_id"])}
    assert added == {0, 1}


def test_a_relabelled_sample_is_taken_anew(recorded, tmp_path, counted):
    later = Later(recorded, tmp_path, OLD, relabelled=next(i for i in range(OLD) if _is_trained_on(recorded, i)))
    _, shards = later.extract()
    assert sum(counted) - len(later.rows(shards, "canaries")) == 1
    before = later.rows(stages_of(later.run, later.base, "gradients"))
    now = later.rows(shards)
    (changed,) = [name for name in now if now[name] != before[name]]
    # The same inputs, alone in its batch instead of among others: equal but for the last bits.
    assert now[changed]["features"] == pytest.approx(before[changed]["features"], rel=1e-4, abs=1e-6)


def _is_trained_on(lake: Path, row: int) -> bool:
    (run,) = (lake / "runs").glob("digits-*")
    return row in pq.read_table(run / "samples" / "train-00000.parquet")["row"].to_pylist()


def test_gradients_of_another_kind_are_taken_anew_by_the_same_networks(recorded, tmp_path, counted):
    later = Later(recorded, tmp_path, OLD)
    _, shards = later.extract(Layers(projection_dim=16))
    assert sum(counted) == 0
    assert {len(row["gradient"]) for row in later.rows(shards).values()} == {16}


@pytest.mark.parametrize(
    ("model", "training", "words"),
    [
        (
            Mlp(hidden=[7]),
            TRAINING,
            r"option model: expected hidden \[6\], as the base's networks have it, got hidden \[7\]",
        ),
        (MODEL, TRAINING.model_copy(update={"loss": "squared_error"}), "option training: expected loss cross_entropy"),
    ],
)
def test_networks_made_otherwise_are_not_taken_over(recorded, tmp_path, model, training, words):
    later = Later(recorded, tmp_path, OLD)
    with pytest.raises(BadConfig, match=words):
        base_of(later.run, "latest", "digits", Recipe(model=model, training=training))
    elsewhere = TRAINING.model_copy(update={"device": "auto"})
    moved = Recipe(model=MODEL, training=elsewhere)
    assert base_of(later.run, "latest", "digits", moved).digest == later.base.digest


def grouped(later, home, groups):
    """The same digits with a group each."""
    lines = (home / "digits.csv").read_text().splitlines()
    path = home / "grouped.csv"
    path.write_text(
        "\n".join([f"{lines[0]},who", *(f"{line},g{g}" for line, g in zip(lines[1:], groups, strict=True))])
    )
    return ingest.fn(later.run, Csv(path=path, label="digit", group="who"), Ingestion(shard_rows=64))


def test_groups_that_join_samples_of_several_folds_are_refused(recorded, tmp_path):
    later = Later(recorded, tmp_path, OLD)
    later.samples = grouped(later, tmp_path, [i // 50 for i in range(OLD)])
    with pytest.raises(BadInput, match="that now join samples of several folds"):
        later.plan()


def test_a_known_sample_keeps_its_fold_and_a_copy_of_one_that_is_gone_takes_its_fold():
    units, known = np.array([0, 0, 1, 1, 2]), np.array([1, -1, 0, -1, -1])
    order, draw = np.array([0.5, 0.1, 0.5, 0.1, 0.3]), np.array([0.0, 0.0, 0.9, 0.9, 0.9])
    assert extend_folds(units, known, order, draw, 2).tolist() == [1, 1, 0, 0, 1]
    assert extend_folds(np.zeros(3, np.int64), np.array([0, 1, -1]), *np.zeros((2, 3)), 2).tolist() == [0, 1, 0]


def test_samples_that_are_gone_leave_no_gradients(recorded, tmp_path, counted):
    later = Later(recorded, tmp_path, OLD - 100)
    _, shards = later.extract()
    assert sum(counted) == len(later.rows(shards, "canaries"))
    assert len(later.rows(shards)) == later.samples.facts["splits"]["train"]


def test_without_a_base_nothing_is_taken_over(recorded, tmp_path, counted):
    later = Later(recorded, tmp_path, OLD, base=None)
    _, shards = later.extract()
    assert sum(counted) == len(later.rows(shards)) + len(later.rows(shards, "canaries"))


def test_a_base_that_does_not_fit_is_refused(recorded, tmp_path):
    later = Later(recorded, tmp_path, OLD)
    with pytest.raises(BadConfig, match="expected 2, as the base has, got 3"):
        later.plan(folds=3)
    fewer = tmp_path / "fewer.csv"
    lines = (tmp_path / "digits.csv").read_text().splitlines()
    fewer.write_text("\n".join(line for line in lines if not line.endswith("d9")) + "\n")
    later.samples = ingest.fn(later.run, Csv(path=fewer, label="digit"), Ingestion())
    with pytest.raises(BadInput, match="the samples' classes"):
        later.plan()


def test_a_base_that_is_not_there_or_damaged_is_refused(recorded, tmp_path):
    later = Later(recorded, tmp_path, OLD)
    with pytest.raises(BadConfig, match="option base: expected a recorded run's id, or latest of the dataset other"):
        base_of(later.run, "latest", "other")
    with pytest.raises(BadConfig, match="got digits-nothing"):
        base_of(later.run, "digits-nothing", "digits")
    (about,) = (later.run.lake / "runs").glob("digits-*/run.json")
    about.write_text('{"stages": 1}')
    with pytest.raises(BadArtefact, match="the document whose digest the run's manifest keeps"):
        stages_of(later.run, later.base, "folds")
    about.with_name("manifest.json").unlink()
    with pytest.raises(BadArtefact, match="a recorded run with its stages"):
        stages_of(later.run, later.base, "folds")


def test_the_command_builds_upon_the_latest_run(recorded, gradsieve, tmp_path):
    shutil.copytree(recorded, tmp_path / "lake")
    source = write(tmp_path / "digits.csv", OLD + 5)
    options = ["--reader.path", str(source), "--reader.label=digit", *OPTIONS, "--verification.seeds=1"]
    lake = ["--lake", str(tmp_path / "lake"), "--ingestion.shard-rows=64", "--detectors=l2"]
    done = gradsieve("clean", *lake, *options, "--base=latest")
    assert done.returncode == 0, done.stderr
    assert "v0004" in done.stdout
    refused = gradsieve("clean", *lake, *options, "--base=nothing")
    assert refused.returncode == 2
    assert "option base" in refused.stderr
