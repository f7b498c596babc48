"""Labels flipped on purpose leave nothing behind: samples, flags and versions know only the given ones."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest
import yaml

from tasks.versions.history import History
from tasks.versions.object_store import Objects


@pytest.fixture(scope="module")
def lake(gradsieve, small, tmp_path_factory):
    """A run of three folds, a fifth of whose labels are planted for a while, and one of none upon the same samples."""
    lake = tmp_path_factory.mktemp("canaries") / "lake"
    for share in (0.2, 0.0):
        options = [*small, "--folds=3", f"--canaries.share={share}", "--budget.kind=share", "--budget.share=0.1"]
        done = gradsieve("clean", "--lake", str(lake), *options, "--detectors=margin,aum")
        assert done.returncode == 0, done.stderr
    return lake


def run_with(lake, share):
    """The folder of the run with this share of canaries."""
    for path in (lake / "runs").glob("digits-*"):
        if yaml.safe_load((path / "config.yaml").read_text())["canaries"]["share"] == share:
            return path
    raise AssertionError(share)


def labels(path):
    return {row["sample_id"]: row["label"] for row in pq.read_table(path, columns=["sample_id", "label"]).to_pylist()}


@pytest.fixture
def planted(lake):
    """sample_id → planted label."""
    table = pq.read_table(run_with(lake, 0.2) / "canaries.parquet")
    assert any(any(networks) for networks in table["networks"].to_pylist())
    return dict(zip(table["sample_id"].to_pylist(), table["planted_label"].to_pylist(), strict=True))


def test_samples_bear_the_labels_they_were_given(lake, planted):
    given = labels(run_with(lake, 0.2) / "samples")
    assert given == labels(run_with(lake, 0.0) / "samples")
    assert len(planted) > 30
    assert all(given[name] != label for name, label in planted.items())


def test_a_version_has_the_labels_it_was_given(lake):
    given = labels(run_with(lake, 0.2) / "samples")
    history = History(Objects(lake / "versions"), "digits")
    came, *cleaned = history.manifests()
    assert labels(lake / "versions" / "digits" / came.rows_of.folder / "data") == given
    assert len(cleaned) == 2
    for version in cleaned:
        home = lake / "versions" / "digits" / version.rows_of.folder
        kept = labels(home / "data")
        decided = pq.read_table(home / "decisions.parquet").to_pylist()
        removed = {row["sample_id"]: row["old_label"] for row in decided if row["decision"] == "remove"}
        assert removed
        assert kept | removed == given


def test_every_sample_is_flagged_or_kept_once_and_as_many_as_the_budget_says(lake):
    for share in (0.2, 0.0):
        run = run_with(lake, share)
        flags = pq.read_table(run / "flags.parquet")
        train = [path for path in (run / "samples").iterdir() if path.name.startswith("train")]
        assert sorted(flags["sample_id"].to_pylist()) == sorted(pq.read_table(train)["sample_id"].to_pylist())
        assert sum(flags["flag"].to_pylist()) <= round(0.1 * flags.num_rows)


def test_scores_are_those_of_the_given_labels(lake, planted):
    """A canary's margin is that of its own gradient row: it is wrong about as often as any other sample."""
    run = run_with(lake, 0.2)
    margins = pq.read_table(run / "scores.parquet").to_pylist()
    scalars = {}
    for path in (run / "gradients").glob("*.parquet"):
        scalars |= {row["sample_id"]: row for row in pq.read_table(path).to_pylist()}
    given = labels(run / "samples")
    for row in margins:
        own = scalars[row["sample_id"]]
        assert (row["margin"] > 0) == (own["predicted"] != given[row["sample_id"]])
    assert planted.keys() <= scalars.keys()


def test_predictions_that_verify_are_of_networks_that_met_no_canary(lake):
    """The untouched arm is trained on the given labels, so that both runs have the same."""
    found = []
    for share in (0.2, 0.0):
        facts = json.loads((run_with(lake, share) / "run.json").read_text())["facts"]
        found.append(facts["metrics"]["accuracy"]["untouched"])
    assert found[0] == found[1]


def test_another_share_plants_trains_and_takes_anew_and_the_same_does_not(gradsieve, small, lake):
    options = [*small, "--folds=3", "--budget.kind=share", "--budget.share=0.1", "--detectors=margin,aum"]
    again = gradsieve("clean", "--lake", str(lake), *options, "--canaries.share=0.2")
    assert "nothing recomputed" in again.stdout, again.stderr
    other = gradsieve("clean", "--lake", str(lake), *options, "--canaries.share=0.2", "--canaries.seed=1")
    assert other.returncode == 0, other.stderr
    last = other.stdout.strip().splitlines()[-1]
    for stage in ("canaries", "checkpoints", "gradients", "scores"):
        assert stage in last
    for stage in ("samples", "folds", "votes"):
        assert stage not in last.removeprefix("recomputed ").partition(";")[0].split(", ")
