"""Every file of a run has a digest somewhere, also of one that no version comes from: what is altered is named."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from tasks.core.errors import BadArtefact
from tasks.pipeline.artefacts import Artefact, File, Run
from tasks.pipeline.durable_files import sha256_of
from tasks.pipeline.recorded_run import RecordedRun, recorded_options
from tasks.versions.chain import Chain
from tasks.versions.integrity import version_checks
from tasks.versions.maintenance import MaintainConfig
from tasks.versions.run_checks import run_checks
from tasks.versions.verify_runs import verify_runs


def flip(path: Path) -> None:
    """Other content of the same length, under this name alone."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.unlink()
    path.write_bytes(data)


def test_each_file_that_is_altered_or_missing_is_found(prepare):
    ready = prepare()
    whole = ready.run.lake / "runs" / ready.run.run_id
    assert [check.state for check in run_checks(ready.run.lake)] == ["ok"]
    paths = [path for path in sorted(whole.rglob("*")) if path.is_file()]
    assert len(paths) > 8
    for path in paths:
        for harm in (flip, Path.unlink):
            data = path.read_bytes()
            harm(path)
            (check,) = run_checks(ready.run.lake)
            is_large = path.parent.name == "checkpoints" or path.suffix == ".arrow"
            assert check.state == ("unknown" if is_large and harm is Path.unlink else "wrong"), (path, harm)
            assert path.name in check.detail
            path.unlink(missing_ok=True)
            path.write_bytes(data)


def test_a_table_that_nothing_names_is_found_for_sql_would_read_it(prepare):
    ready = prepare()
    whole = ready.run.lake / "runs" / ready.run.run_id
    (whole / "predictions").mkdir()
    (whole / "predictions" / "cleaned-9.parquet").write_bytes(b"rows of nobody")
    (whole / "a note.txt").write_text("of a person")
    (check,) = run_checks(ready.run.lake)
    assert (check.state, check.detail) == ("wrong", "not of it: predictions/cleaned-9.parquet")


def test_a_file_that_is_cleared_away_while_it_is_looked_at_is_no_damage(prepare, monkeypatch):
    ready = prepare()

    def meanwhile(path: Path) -> str:
        if path.suffix == ".pt":
            path.unlink()
        return sha256_of(path)

    monkeypatch.setattr("tasks.versions.run_checks.sha256_of", meanwhile)
    assert [check.state for check in run_checks(ready.run.lake)] == ["unknown"]


def test_a_file_that_runs_share_is_read_once(prepare, monkeypatch):
    prepare()
    read: list[Path] = []
    monkeypatch.setattr("tasks.versions.run_checks.sha256_of", lambda path: read.append(path) or sha256_of(path))
    lake = prepare().run.lake
    assert [check.state for check in run_checks(lake)] == ["ok", "ok"]
    files = [path.stat().st_ino for path in read]
    assert len(files) == len(set(files)) > 0


def test_a_version_says_of_its_run_what_is_said_of_any(prepare):
    ready = prepare()
    history = ready.history
    number = int(ready.publish().facts["version"][1:])
    whole = ready.run.lake / "runs" / ready.run.run_id

    def state() -> str:
        found = version_checks(history, number, ready.run.lake, Chain(history))
        return next(check.state for check in found if check.what == "run")

    assert state() == "ok"
    for name, expected in (("checkpoints/fold-0.pt", "unknown"), ("scores.parquet", "wrong"), ("run.json", "wrong")):
        data = (whole / name).read_bytes()
        (whole / name).unlink()
        assert state() == expected, name
        (whole / name).write_bytes(data)
    shutil.rmtree(whole)
    assert state() == "unknown"


def test_maintenance_says_which(prepare):
    ready = prepare()
    config = MaintainConfig(lake=ready.run.lake)
    whole = "1 runs are whole, with what is made of them"
    assert verify_runs.fn(ready.run, config) == [whole]
    (ready.run.lake / "runs" / ready.run.run_id / "checkpoints" / "fold-0.pt").unlink()
    assert verify_runs.fn(ready.run, config) == [f"{whole}; large files of 1 were cleared away"]
    flip(ready.run.lake / "runs" / ready.run.run_id / "flags.parquet")
    with pytest.raises(BadArtefact, match=f"run {ready.run.run_id}: altered: flags.parquet"):
        verify_runs.fn(ready.run, config)
    assert verify_runs.fn(ready.run, config.model_copy(update={"verify": False})) == []
    assert verify_runs.fn(ready.run, config.model_copy(update={"dataset": "other"})) == []


def test_maintenance_says_how_many_more_there_are_than_it_names(tmp_path):
    for number in range(7):
        (tmp_path / "traces" / f"t{number}").mkdir(parents=True)
    config = MaintainConfig(lake=tmp_path)
    with pytest.raises(BadArtefact, match=r"traces/t4: .*; and 2 more, which gradsieve versions verify names"):
        verify_runs.fn(Run(lake=tmp_path, run_id="maintain"), config)


def test_what_is_made_of_runs_is_looked_at_by_its_manifest_and_a_person_s_answers_are_not(tmp_path):
    (tmp_path / "reviews" / "asked").mkdir(parents=True)
    (tmp_path / "reviews" / "asked" / "answer.json").write_text("{}")
    assert list(run_checks(tmp_path)) == []
    for name in ("comparisons/a", "traces/b", "reviews/c", "review_answers/d"):
        path = tmp_path / name / "table.parquet"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"rows and rows")
        file = File(name=path.name, rows=1, size=13, sha256=sha256_of(path))
        made = Artefact(stage="any", folder=name, files=(file,), facts={}, digest="any", made_by="any")
        (path.parent / "manifest.json").write_text(made.model_dump_json())
    assert [check.state for check in run_checks(tmp_path)] == ["ok"] * 4
    flip(tmp_path / "traces" / "b" / "table.parquet")
    (tmp_path / "comparisons" / "a" / "manifest.json").unlink()
    states = {check.what: check.state for check in run_checks(tmp_path)}
    assert states == {"comparisons/a": "wrong", "traces/b": "wrong", "reviews/c": "ok", "review_answers/d": "ok"}


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
    text = path.read_text()
    path.write_text(json.dumps(stated))
    assert RecordedRun.read(ready.run.lake, ready.run.run_id).dataset == "tiny"
    assert [check.state for check in run_checks(ready.run.lake)] == ["ok"]
    # As they are by one bit that has turned over, and not by their age.
    path.write_text(text.replace('"documents"', '"documentr"'))
    assert [check.state for check in run_checks(ready.run.lake)] == ["wrong"]
