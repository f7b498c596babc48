"""The flow from end to end: what it leaves, what it finds, what it does not do twice."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from tasks.config import CleanConfig
from tasks.pipeline.durable_files import sha256_of
from tasks.versions.history import History
from tasks.versions.object_store import Objects

REPOSITORY = Path(__file__).resolve().parents[2]


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder with its size and time of change."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def test_the_main_job_prints_what_it_found(cleaned):
    text = cleaned.process.stdout
    for words in (
        "1,797 samples",
        "training samples, decided by fusion",
        "before:",
        "after:",
        "digits v0002",
        "current is v000",
        "verdict: ",
        "gradsieve sql",
    ):
        assert words in text


def test_every_stage_leaves_its_files_in_the_run_folder(cleaned):
    left = {path.name for path in cleaned.run_folder.iterdir()}
    assert left >= {
        "samples", "rejects.parquet", "folds.parquet", "checkpoints", "gradients", "scores.parquet", "flags.parquet",
        "predictions", "metrics.parquet", "config.yaml", "run.json", "manifest.json",
    }  # fmt: skip


def test_seventy_percent_of_the_planted_flips_are_found_and_accuracy_does_not_fall(cleaned):
    facts = json.loads((cleaned.run_folder / "run.json").read_text())["facts"]
    assert facts["samples"]["planted"] > 100
    assert facts["metrics"]["detection"]["l2"]["recall_at_noise_rate"] >= 0.7
    assert facts["metrics"]["accuracy"]["cleaned"] >= facts["metrics"]["accuracy"]["untouched"]


def versions_of(lake: Path) -> History:
    return History(Objects(lake / "versions"), "digits")


def test_the_flagged_are_exactly_what_the_version_leaves_out(cleaned):
    flags = pq.read_table(cleaned.run_folder / "flags.parquet").to_pylist()
    samples = pq.read_table(cleaned.run_folder / "samples")["sample_id"].to_pylist()
    home = cleaned.lake / "versions" / "digits" / versions_of(cleaned.lake).manifest(2).rows_of.folder
    kept = pq.read_table(home / "data")["sample_id"].to_pylist()
    decisions = pq.read_table(home / "decisions.parquet").to_pylist()
    removed = [row["sample_id"] for row in decisions if row["decision"] == "remove"]
    assert set(removed) == {row["sample_id"] for row in flags if row["flag"]}
    assert sorted(kept + removed) == sorted(samples)
    assert all(row["reason"] and row["rule"] and set(row["scores"]) for row in decisions)


def test_a_dataset_is_kept_as_it_came_before_it_is_cleaned(cleaned):
    came, made = versions_of(cleaned.lake).manifests()
    assert (came.kind, came.removed, came.parent) == ("ingested", 0, None)
    assert (made.kind, made.parent) == ("cleaned", "v0001")
    assert came.parts == made.parts
    assert came.rows == pq.read_table(cleaned.run_folder / "samples").num_rows == made.rows + made.removed


def test_a_version_knows_its_run_code_config_model_detectors_budget_and_verdict(cleaned):
    made = versions_of(cleaned.lake).manifest(2)
    facts = json.loads((cleaned.run_folder / "run.json").read_text())["facts"]
    assert made.run_id == cleaned.run_folder.name
    assert made.code.startswith("0.")
    assert CleanConfig.model_validate(yaml.safe_load(made.config or "")) == CleanConfig()
    assert len(made.model or "") == len(made.source or "") == 64
    assert list(made.detectors) == facts["scores"]["detectors"]
    assert made.budget == facts["flags"]["found"]
    assert made.verdict is not None
    assert made.verdict["word"] == facts["metrics"]["verdict"]["word"]


def test_the_tags_are_where_the_verdict_put_them(cleaned):
    verdict = versions_of(cleaned.lake).manifest(2).verdict
    assert verdict is not None
    expected = {"current": "v0002"} if verdict["promote"] else {"candidate": "v0002", "current": "v0001"}
    assert versions_of(cleaned.lake).tags() == expected


def test_all_of_it_is_put_down_as_one_page_that_needs_no_network(cleaned):
    (page,) = (cleaned.lake / "reports").iterdir()
    assert page.stem == cleaned.run_folder.name
    assert str(page) in cleaned.process.stdout
    text = page.read_text()
    removed = versions_of(cleaned.lake).manifest(2).removed
    # And of some that a guard kept.
    assert text.count("data:image/png;base64,") >= removed
    assert text.count("<svg") == text.count("<figcaption>") == 5
    # Names of the SVG's languages are no places.
    elsewhere = re.findall(r"""(?:src|href)\s*=\s*["'](?!data:|#)[^"']*""", text)
    assert elsewhere == []
    assert "Content-Security-Policy" in text
    assert (cleaned.run_folder / "config.yaml").read_text().splitlines()[0] in text
    facts = json.loads((cleaned.run_folder / "run.json").read_text())["facts"]
    assert facts["metrics"]["verdict"]["sentence"] in text


def test_a_version_holds_a_digest_of_each_of_its_files(cleaned):
    home = cleaned.lake / "versions" / "digits"
    named = {}
    for manifest in versions_of(cleaned.lake).manifests():
        named |= {name: file.sha256 for name, file in manifest.rows_of.objects.items()}
    assert set(named) == {str(path.relative_to(home)) for path in home.rglob("*.parquet")}
    assert {name: sha256_of(home / name) for name in named} == named


def test_the_recorded_configuration_gives_the_same_configuration(cleaned):
    recorded = yaml.safe_load((cleaned.run_folder / "config.yaml").read_text())
    assert CleanConfig.model_validate(recorded) == CleanConfig()


def test_no_partial_file_is_left(cleaned):
    assert not [path for path in cleaned.lake.rglob("*") if path.name.startswith(".partial")]


@pytest.fixture(scope="module")
def twin(gradsieve, small, tmp_path_factory):
    """A lake of its own with a run of the same options as the small one's."""
    lake = tmp_path_factory.mktemp("twin")
    done = gradsieve("clean", "--lake", str(lake), *small)
    assert done.returncode == 0, done.stderr
    return lake


def test_a_second_run_recomputes_nothing_says_so_and_changes_only_the_log(gradsieve, small, twin):
    before = tree(twin)
    second = gradsieve("clean", "--lake", str(twin), *small)
    assert "nothing recomputed" in second.stdout
    after = tree(twin)
    assert {name for name in before | after if before.get(name) != after.get(name)} == {"log.jsonl"}
    assert len((twin / "log.jsonl").read_text().splitlines()) == 2


@pytest.fixture
def lake(cleaned_small, tmp_path):
    """A copy of the small run's, to be changed."""
    return shutil.copytree(cleaned_small.lake, tmp_path / "lake")


def test_two_separate_lakes_get_the_same_bytes(cleaned_small, twin):
    digests = []
    for lake in (cleaned_small.lake, twin):
        (run,) = (lake / "runs").glob("digits-*")
        files = [p for p in run.rglob("*") if p.is_file() and p.name not in ("run.json", "manifest.json")]
        digests.append({str(p.relative_to(run)): sha256_of(p) for p in files})
    assert digests[0] == digests[1]


@pytest.fixture(scope="module")
def copy(tmp_path_factory, cleaned_small):
    """A copy of the code, to be changed, with one of a lake in which the same code has run once."""
    home = tmp_path_factory.mktemp("copy")
    for package in ("flows", "tasks"):
        shutil.copytree(REPOSITORY / package, home / package)
    shutil.copytree(cleaned_small.lake, home / "lake")
    return home


@pytest.mark.parametrize(
    ("module", "old", "new", "recomputed"),
    [
        # Another number for the L1 norm: gradients and scores change; l2 decides, so the flags come out the same. The
        # scores stand beside each decision, so a version follows.
        (
            "kernels/norms.py",
            "l1 = (residual.abs().sum(2) * features.abs().sum(2)).sum(1)",
            "l1 = (residual.abs().sum(2) * features.abs().sum(2)).sum(1) * 1.5",
            {"gradients", "scores", "flags", "metrics", "version"},
        ),
        # The same numbers by other code: gradients are recomputed, come out the same, and nothing follows.
        ("kernels/head.py", "len(features), 1)], dim=1)", "len(features), 1)], 1)", {"gradients", "network"}),
        ("kernels/ranking.py", "hits[-1]", "hits[-1] * 1.0", {"metrics"}),
        ("kernels/folds.py", "% folds", "% folds + 0", {"folds"}),
        # A decision in SQL is code: other reasons, the same flags.
        (
            "decision/flag.sql",
            "kept: below the budget",
            "kept: under the budget",
            {"flags", "metrics", "predictions", "version"},
        ),
    ],
)
def test_a_changed_kernel_recomputes_exactly_what_depends_on_it(copy, gradsieve, small, module, old, new, recomputed):
    path, norms = copy / "tasks" / module, copy / "tasks" / "kernels" / "norms.py"
    originals = {each: each.read_text() for each in (norms, path)}
    assert originals[path].count(old) == 1
    # A comment is no code: nothing follows from this one.
    norms.write_text(f"{originals[norms]}\n# Both norms.\n")
    path.write_text(originals[path].replace(old, new))
    try:
        done = gradsieve("clean", "--lake", str(copy / "lake"), *small, cwd=copy)
    finally:
        for each, original in originals.items():
            each.write_text(original)
    assert done.returncode == 0, done.stderr
    last = done.stdout.strip().splitlines()[-1]
    said = last.removeprefix("recomputed ").partition(";")[0].split(", ")
    assert {word.partition(" × ")[0] for word in said} == recomputed


def test_a_deleted_stage_is_recomputed_and_not_stumbled_over(gradsieve, lake, small):
    (scores,) = (lake / "cache").glob("scores-*")
    shutil.rmtree(scores)
    again = gradsieve("clean", "--lake", str(lake), *small)
    assert again.returncode == 0, again.stderr
    assert "recomputed scores;" in again.stdout
    assert "nothing recomputed" in gradsieve("clean", "--lake", str(lake), *small).stdout


def test_a_run_of_an_older_cache_stays_whole_when_the_cache_is_deleted(gradsieve, lake):
    shutil.rmtree(lake / "cache")
    shown = gradsieve(
        "sql",
        "--lake",
        str(lake),
        "--format=csv",
        "SELECT count(*) FROM flags JOIN scores USING (run_id, sample_id)",
    )
    assert int(shown.stdout.split()[-1]) > 300


def test_a_killed_run_goes_on_where_it_was(gradsieve, nursery, small, tmp_path, server):
    def trained() -> list[Path]:
        return list((tmp_path / "cache").glob("checkpoints-*"))

    command = ("clean", "--lake", str(tmp_path), *small, "--training.epochs=40")
    ended = nursery.killed(command, lambda: bool(trained()), tmp_path, PREFECT_API_URL=server)
    assert ended == -signal.SIGKILL
    assert trained()
    assert not list((tmp_path / "runs").iterdir())
    again = gradsieve(*command)
    assert again.returncode == 0, again.stderr
    assert "recomputed samples" not in again.stdout
    assert not list(tmp_path.rglob(".partial*"))


def test_two_runs_at_once_both_finish_and_lose_nothing(gradsieve, small, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    def run(seed: int) -> subprocess.CompletedProcess[str]:
        return gradsieve("clean", "--lake", str(tmp_path), *small, f"--training.seed={seed}")

    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(run, (1, 2)))
    assert [process.returncode for process in done] == [0, 0], [process.stderr for process in done]
    came, *made = versions_of(tmp_path).manifests()
    assert [m.version for m in made] == ["v0002", "v0003"]
    assert {m.parent for m in made} == {came.version}
    assert {m.run_id for m in made} == {path.name for path in (tmp_path / "runs").iterdir()}
    listed = gradsieve("sql", "--lake", str(tmp_path), "--format=csv", "SELECT count(*) FROM runs")
    assert listed.stdout.split()[-1] == "2"
