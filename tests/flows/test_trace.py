"""trace: over a recorded run, by a command of its own, into a folder of its own that SQL sees."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

SMALL = (
    "--dataset=kinds", "--reader.label=y", "--reader.split=split", "--reader.group=kind", "--model.kind=logistic",
    "--training.epochs=3", "--folds=2", "--detectors=l2", "--budget.kind=share", "--verification.seeds=1",
)  # fmt: skip


def written(path: Path, *splits: str) -> str:
    """Thirty samples of each split, of six kinds in two classes: a kind is a place."""
    rng = np.random.default_rng(0)
    kind = np.arange(30 * len(splits)) % 6
    x = np.eye(6)[kind] * 3 + rng.normal(size=(len(kind), 6)) * 0.3
    columns = {f"x{i}": x[:, i] for i in range(6)}
    columns |= {"y": (kind % 2).astype(str), "kind": kind.astype(str), "split": np.repeat(splits, 30)}
    pq.write_table(pa.table(columns), path)
    return str(path)


@pytest.fixture(scope="module")
def lake(gradsieve, tmp_path_factory) -> Path:
    """A lake with one run of a source that has queries."""
    home = tmp_path_factory.mktemp("traced")
    path = written(home / "kinds.parquet", "train", "test", "validation")
    done = gradsieve("clean", f"--reader.path={path}", *SMALL, "--lake", str(home / "lake"))
    assert done.returncode == 0, done.stderr
    return home / "lake"


@pytest.fixture(scope="module")
def first(gradsieve, lake):
    """What the first trace says."""
    (run,) = [path.name for path in (lake / "runs").iterdir()]
    done = gradsieve("trace", run, "--top", "4", "--cosine", "false", "--lake", str(lake))
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_trace_lies_in_a_folder_of_its_own_whole_and_says_of_which_run_and_how(lake, first):
    (run,), (home,) = (list((lake / folder).iterdir()) for folder in ("runs", "traces"))
    told = json.loads((home / "trace.json").read_text())
    assert (told["trace_id"], told["run_id"], told["queries"]) == (home.name, run.name, 30)
    assert (told["options"]["top"], told["options"]["cosine"]) == (4, False)
    assert {path.name for path in home.iterdir()} == {"manifest.json", "trace.json", "traced.parquet"}
    assert not (run / "traced.parquet").exists()
    for words in (run.name, home.name, "ROC AUC", "the 4 samples", "30 queries", "recomputed traced, traces"):
        assert words in first


def test_the_query_that_the_summary_names_answers(lake, first, gradsieve):
    (line,) = [line for line in first.splitlines() if "gradsieve sql" in line]
    done = gradsieve("sql", line.split('"')[1], "--format", "csv", "--lake", str(lake))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("query_id,asked,rank,sample_id,label,influence")
    assert len(done.stdout.splitlines()) == 1 + 3 * 30
    columns = gradsieve("sql", "SELECT * FROM latest.traced LIMIT 1", "--format", "csv", "--lake", str(lake)).stdout
    assert columns.startswith("run_id,dataset,trace_id,query_id,sample_id,rank,influence")


def test_the_same_again_is_the_trace_that_is_there_and_other_options_make_another(gradsieve, lake, first):
    again = gradsieve("trace", "--top", "4", "--cosine", "false", "--lake", str(lake))
    assert again.returncode == 0, again.stderr
    assert "nothing recomputed" in again.stdout
    assert again.stdout.splitlines()[0] == first.splitlines()[0]
    assert len(list((lake / "traces").iterdir())) == 1
    other = gradsieve("trace", "latest", "--dataset", "kinds", "--neighbours", "5", "--lake", str(lake))
    assert other.returncode == 0, other.stderr
    count = gradsieve("sql", "SELECT count(*) AS n FROM traces", "--format", "csv", "--lake", str(lake))
    assert count.stdout.split() == ["n", "2"]


def test_maintenance_leaves_traces_alone(gradsieve, lake, first):
    before = sorted((lake / "traces").rglob("*"))
    done = gradsieve("maintain", "--keep", "1", "--grace-hours", "0", "--lake", str(lake))
    assert done.returncode == 0, done.stderr
    assert sorted((lake / "traces").rglob("*")) == before


def traced(lake) -> list[dict[str, Any]]:
    """Of the trace that compares each query with each sample alone."""
    homes = Path(lake, "traces").iterdir()
    (home,) = [home for home in homes if not json.loads((home / "trace.json").read_text())["options"]["neighbours"]]
    return pq.read_table(home / "traced.parquet").to_pylist()


def test_the_test_samples_are_the_queries_of_a_run_without_a_validation_split(gradsieve, lake, first, tmp_path):
    """The same samples under another split: their gradients are the same, taken by the run or by the trace."""
    path = written(tmp_path / "kinds.parquet", "train", "test", "test")
    other = str(tmp_path / "lake")
    assert gradsieve("clean", f"--reader.path={path}", *SMALL, "--lake", other).returncode == 0
    done = gradsieve("trace", "--top", "4", "--cosine", "false", "--lake", other)
    assert done.returncode == 0, done.stderr
    assert "the queries are the test samples, for the run has no validation split" in done.stdout
    assert "60 queries" in done.stdout
    rows, reference = traced(other), traced(lake)
    asked = {row["query_id"] for row in reference}
    assert [row for row in rows if row["query_id"] in asked] == reference


def test_a_run_without_queries_is_refused_with_the_option_that_names_some():
    from tasks.core.errors import BadConfig
    from tasks.scoring.influence_traces import Tracing

    with pytest.raises(BadConfig, match=r"--reader\.reference-path"):
        Tracing().traces(cast("Any", SimpleNamespace(reference=None)))
