"""The comparison from end to end: what it says, what it leaves, what it does not do twice, what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from tasks.config import CleanConfig, CompareConfig

OPTIONS = [
    "--reader.limit=400",
    "--folds=3",
    "--training.epochs=2",
    "--detectors=l2,margin,fusion",
    "--seeds=2",
    "--dataset=compared",
]


@pytest.fixture(scope="module")
def first(gradsieve, tmp_path_factory):
    """(lake, process) of a tiny comparison."""
    lake = tmp_path_factory.mktemp("compared") / "lake"
    process = gradsieve("compare", "--lake", str(lake), *OPTIONS)
    assert process.returncode == 0, process.stderr
    return lake, process


def folder_of(lake: Path) -> Path:
    (folder,) = (lake / "comparisons").iterdir()
    return folder


def scores_of(lake: Path) -> list[tuple[pa.Table, np.ndarray]]:
    """(scores, which labels are wrong) of each repetition, read from the cache by hand."""
    tables = [pq.read_table(path) for path in (lake / "cache").glob("samples-*/samples/train-*.parquet")]
    samples = pa.concat_tables([table.select(["sample_id", "label", "clean_label"]) for table in tables])
    found = []
    for path in (lake / "cache").glob("scores-*/scores.parquet"):
        scores = pq.read_table(path)
        rows = samples.take(pc.index_in(scores["sample_id"], samples["sample_id"].combine_chunks()))
        found.append((scores, pc.not_equal(rows["label"], rows["clean_label"]).to_numpy()))
    return found


def test_it_prints_the_detectors_by_average_precision_and_the_budgets(first):
    _, process = first
    text = process.stdout
    assert "known labels are wrong" in text
    table = text.partition("Detectors, by average precision\n")[2].partition("\n\n")[0].splitlines()
    assert table[0].split()[0] == "detector"
    assert {line.split()[0] for line in table[1:]} == {"l2", "margin", "fusion"}
    figures = [float(line.split()[1]) for line in table[1:]]
    assert figures == sorted(figures, reverse=True)
    assert next(line for line in table if "margin" in line).endswith("  probabilities")
    for budget in ("canary", "canary_0.9", "disagreement", "mixture", "share_0.1"):
        assert f"\n  {budget} " in text


def test_its_figures_are_scikit_learns_from_the_scores(first):
    lake, _ = first
    table = pq.read_table(folder_of(lake) / "comparison.parquet").to_pylist()
    figures = {(row["detector"], row["budget"], row["measure"]): row for row in table}
    scores = scores_of(lake)
    assert len(scores) == 2
    for name in ("l2", "margin", "fusion"):
        suspicions = [(wrong, scored[name].to_numpy()) for scored, wrong in scores]
        for measured, judge in (("average_precision", average_precision_score), ("roc_auc", roc_auc_score)):
            values = [judge(*pair) for pair in suspicions]
            assert figures[name, None, measured]["mean"] == pytest.approx(np.mean(values))
        tenth = []
        for wrong, suspicion in suspicions:
            chosen = np.zeros(len(wrong), bool)
            chosen[np.argsort(-suspicion)[: round(0.1 * len(wrong))]] = True
            tenth.append(f1_score(wrong, chosen))
        assert figures[name, "share_0.1", "f1"]["mean"] == pytest.approx(np.mean(tenth))
        assert figures[name, "share_0.1", "f1"]["repetitions"] == 2


def test_repetitions_differ_in_networks_and_canaries_but_not_in_folds_or_labels(first):
    lake, _ = first
    made = {stage: len(list((lake / "cache").glob(f"{stage}-*"))) for stage in ("samples", "folds", "votes")}
    assert made == {"samples": 1, "folds": 1, "votes": 1}
    again = {stage: len(list((lake / "cache").glob(f"{stage}-*"))) for stage in ("canaries", "checkpoints", "scores")}
    assert again == {"canaries": 2, "checkpoints": 6, "scores": 2}


def test_a_second_comparison_recomputes_nothing_and_says_the_same(gradsieve, first):
    lake, process = first
    before = {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file() and path.name != "log.jsonl"}
    second = gradsieve("compare", "--lake", str(lake), *OPTIONS)
    assert "nothing recomputed" in second.stdout, second.stderr
    assert second.stdout.rpartition("\n\n")[0] == process.stdout.rpartition("\n\n")[0]
    after = {path: path.stat().st_mtime_ns for path in lake.rglob("*") if path.is_file() and path.name != "log.jsonl"}
    assert after == before


def test_the_first_repetition_is_what_clean_does(gradsieve, first):
    lake, _ = first
    options = [option for option in OPTIONS if not option.startswith("--seeds")]
    cleaned = gradsieve("clean", "--lake", str(lake), *options, "--verification.seeds=1")
    assert cleaned.returncode == 0, cleaned.stderr
    work = cleaned.stdout.strip().splitlines()[-1]
    assert not {"checkpoints", "gradients", "scores"} & set(work.partition(";")[0].replace(",", "").split()), work


def test_the_recorded_configuration_gives_the_same_comparison(gradsieve, first, tmp_path):
    lake, _ = first
    recorded = folder_of(lake) / "config.yaml"
    config = CompareConfig.model_validate(yaml.safe_load(recorded.read_text()))
    assert (config.seeds, config.names, config.folds) == (2, ["l2", "margin", "fusion"], 3)
    again = gradsieve("compare", "--lake", str(lake), "--config", str(recorded))
    assert "nothing recomputed" in again.stdout, again.stderr


def test_sql_asks_a_lake_of_comparisons_alone(gradsieve, tmp_path):
    lake = ("--lake", str(tmp_path))
    options = [
        "--reader.limit=250",
        "--reader.test-share=0",
        "--folds=2",
        "--training.epochs=1",
        "--detectors=l2",
        "--budgets=share",
    ]
    assert gradsieve("compare", *lake, *options, "--seeds=1").returncode == 0
    query = "SELECT detector, budget, mean FROM comparisons WHERE measure = 'count'"
    done = gradsieve("sql", query, *lake, "--format=json")
    assert json.loads(done.stdout) == {"detector": "l2", "budget": "share_0.1", "mean": 25.0}, done.stderr
    for arguments in (["runs"], ["show", "latest"], ["sql", query, "--run=some"]):
        refused = gradsieve(*arguments, *lake)
        assert (refused.returncode, "Run gradsieve clean first" in refused.stderr) == (3, True), refused.stderr


def test_sql_asks_comparisons_beside_runs(gradsieve, first):
    lake, process = first
    command = process.stdout.partition("\nAsk\n")[2].strip().splitlines()[0]
    query = command.partition('"')[2].rpartition('"')[0]
    done = gradsieve("sql", query, "--lake", str(lake), "--format=csv")
    rows = done.stdout.splitlines()
    assert rows[0] == "detector,budget,mean,low,high", done.stderr
    assert len(rows) == 1 + 3 * 5


def test_data_whose_wrong_labels_are_not_known_is_refused_before_anything_is_trained(gradsieve, tmp_path):
    rows = [f"{i},{i % 5},{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "set.csv").write_text("\n".join(["x,y,label", *rows]))
    lake = tmp_path / "lake"
    done = gradsieve("compare", "--lake", str(lake), "--reader.path", str(tmp_path / "set.csv"))
    assert done.returncode == 3
    assert "a comparison needs known noise" in done.stderr
    assert "--reader.clean-label" in done.stderr
    assert len([line for line in done.stderr.splitlines() if line.startswith("gradsieve: ")]) == 1
    assert not list((lake / "cache").glob("folds-*"))
    assert json.loads((lake / "log.jsonl").read_text())["state"] == "failed"


def test_a_column_of_clean_labels_is_truth_enough(gradsieve, tmp_path):
    generator = np.random.default_rng(0)
    lines = ["x,y,label,truth"]
    for i in range(200):
        truth = "ab"[i % 2]
        label = "ba"[i % 2] if i % 10 == 0 else truth
        x, y = generator.normal(3 * (i % 2), 1, 2)
        lines.append(f"{x},{y},{label},{truth if i % 3 else ''}")
    (tmp_path / "set.csv").write_text("\n".join(lines))
    done = gradsieve(
        "compare", "--lake", str(tmp_path / "lake"), "--reader.path", str(tmp_path / "set.csv"),
        "--reader.clean-label=truth", "--model.kind=logistic", "--training.epochs=2", "--detectors=margin", "--seeds=1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "known labels are wrong" in done.stdout
    manifest = json.loads((folder_of(tmp_path / "lake") / "manifest.json").read_text())
    assert 0 < manifest["facts"]["known"] < manifest["facts"]["samples"]


def test_a_budget_that_needs_canaries_is_refused_without_them():
    with pytest.raises(ValueError, match="detector fusion learns from canaries"):
        CompareConfig.model_validate({"folds": 1})
    budgets = ["share", {"kind": "canary", "precision": 0.9}]
    with pytest.raises(ValueError, match=r"budget canary_0\.9 learns from canaries"):
        CompareConfig.model_validate({"canaries": {"share": 0}, "detectors": ["l2"], "budgets": budgets})


def test_budgets_are_told_apart():
    with pytest.raises(ValueError, match=r"budgets: share_0\.1 stands there twice"):
        CompareConfig.model_validate({"budgets": ["share", {"kind": "share", "share": 0.1}]})
    shares = [{"kind": "share", "share": 0.1}, {"kind": "share", "share": 0.2}]
    assert [budget.name for budget in CompareConfig.model_validate({"budgets": shares}).budget_components] == [
        "share_0.1",
        "share_0.2",
    ]


def test_a_repetition_has_seeds_of_its_own():
    config = CompareConfig.model_validate({"training": {"seed": 7}, "canaries": {"seed": 5}})
    assert [(each.recipe.training.seed, each.canaries.seed) for each in config.repetitions] == [
        (7, 5),
        (1007, 6),
        (2007, 7),
    ]


def test_what_both_flows_are_told_has_the_same_defaults():
    clean, compare = CleanConfig().model_dump(), CompareConfig().model_dump()
    shared = (clean.keys() & compare.keys()) - {"detectors"}
    assert len(shared) >= 11
    assert {name: clean[name] for name in shared} == {name: compare[name] for name in shared}
