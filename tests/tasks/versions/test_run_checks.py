"""Every file of a run has a digest somewhere, also of one that no version comes from: what is altered is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tasks.core.errors import BadArtefact
from tasks.pipeline.recorded_run import RecordedRun, recorded_options
from tasks.versions.maintenance import MaintainConfig
from tasks.versions.run_checks import run_checks
from tasks.versions.verify_runs import verify_runs


def flip(path: Path) -> None:
    """Other content of the same length, under this name alone."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def test_each_file_that_is_altered_or_missing_is_found(prepare, tmp_path):
    ready = prepare()
    whole = ready.run.lake / "runs" / ready.run.run_id
    assert [check.state for check in run_checks(ready.run.lake)] == ["ok"]
    names = [path.relative_to(whole) for path in sorted(whole.rglob("*")) if path.is_file()]
    assert len(names) > 8
    for name in names:
        for harm in (flip, Path.unlink):
            lake = tmp_path / "harmed"
            shutil.copytree(ready.run.lake, lake)
            harm(lake / "runs" / whole.name / name)
            (check,) = run_checks(lake)
            is_large = name.parts[0] == "checkpoints" or name.suffix == ".arrow"
            assert check.state == ("unknown" if is_large and harm is Path.unlink else "wrong"), (name, harm)
            assert name.name in check.detail
            shutil.rmtree(lake)


def test_maintenance_says_which(prepare):
    ready = prepare()
    config = MaintainConfig(lake=ready.run.lake)
    assert verify_runs.fn(ready.run, config) == ["1 runs are whole, with what is made of them"]
    flip(ready.run.lake / "runs" / ready.run.run_id / "flags.parquet")
    with pytest.raises(BadArtefact, match=f"run {ready.run.run_id}: altered: flags.parquet"):
        verify_runs.fn(ready.run, config)
    assert verify_runs.fn(ready.run, config.model_copy(update={"verify": False})) == []
    assert verify_runs.fn(ready.run, config.model_copy(update={"dataset": "other"})) == []


def test_a_document_that_was_altered_is_refused_by_its_readers_and_recorded_anew(prepare):
    ready = prepare()
    record = ready.given["record"]
    path = ready.run.lake / "runs" / ready.run.run_id / "run.json"
    assert ready.run.intact(record)
    text = path.read_text()
    path.write_text(text.replace('"flagged": 6', '"flagged": 7'))
    assert json.loads(path.read_text()) != json.loads(text)
    with pytest.raises(BadArtefact, match=r"run\.json: expected the document whose digest"):
        RecordedRun.read(ready.run.lake, ready.run.run_id)
    assert not ready.run.intact(record)
    path.write_text(text)
    assert ready.run.intact(record)
    options = path.with_name("config.yaml")
    options.write_text(f"{options.read_text()}folds: 7\n")
    with pytest.raises(BadArtefact, match=r"config\.yaml"), recorded_options(ready.run.lake, ready.run.run_id):
        pass


def test_a_run_of_before_its_documents_had_digests_is_read(prepare):
    ready = prepare()
    path = ready.run.lake / "runs" / ready.run.run_id / "manifest.json"
    stated = json.loads(path.read_text())
    assert stated.pop("documents").keys() == {"run.json", "config.yaml"}
    path.write_text(json.dumps(stated))
    assert RecordedRun.read(ready.run.lake, ready.run.run_id).dataset == "tiny"
    assert [check.state for check in run_checks(ready.run.lake)] == ["ok"]
