"""What a recorded run was made with is read inside of its lake, and told as its file's fault where it cannot be."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.errors import BadArtefact, BadInput
from tasks.pipeline.recorded_run import RecordedRun, recorded_options


def _record(lake: Path, run_id: str, dataset: str, recorded: str) -> None:
    (lake / "runs" / run_id).mkdir(parents=True)
    run = RecordedRun(run_id=run_id, dataset=dataset, recorded=recorded, facts={}, stages=())
    (lake / "runs" / run_id / "run.json").write_text(run.model_dump_json())


def _why_not(lake: Path, name: str) -> str:
    with pytest.raises(BadInput, match=f"expected a run '{name}', got none of that name") as caught:
        RecordedRun.read(lake, name)
    return caught.value.do


def test_options_are_those_of_the_runs_file(tmp_path):
    (tmp_path / "runs" / "a-run").mkdir(parents=True)
    (tmp_path / "runs" / "a-run" / "config.yaml").write_text("folds: 3\n")
    with recorded_options(tmp_path, "a-run") as options:
        assert options == {"folds": 3}


@pytest.mark.parametrize("text", [None, "folds: [", "folds: 3\n"])
def test_what_cannot_be_read_or_used_is_named(tmp_path, text):
    (tmp_path / "runs" / "a-run").mkdir(parents=True)
    if text is not None:
        (tmp_path / "runs" / "a-run" / "config.yaml").write_text(text)
    # Who traces or reviews it has no base to leave out.
    said = r"(?s)a-run/config\.yaml.*Choose another run; where it is a base"
    with pytest.raises(BadArtefact, match=said), recorded_options(tmp_path, "a-run") as options:
        options["model"]


@pytest.mark.parametrize("run_id", ["../outside", "a/b", ".."])
def test_an_id_that_leads_out_is_refused(tmp_path, run_id):
    (tmp_path / "runs").mkdir()
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "config.yaml").write_text("folds: 3\n")
    with pytest.raises(BadArtefact), recorded_options(tmp_path, run_id):
        pass


def test_a_datasets_name_in_place_of_a_run_is_answered_by_its_newest_run(tmp_path):
    lake = tmp_path / "a lake"
    _record(lake, "z-first", "crm", "2026-01-01T00:00:00+00:00")
    _record(lake, "a-second", "crm", "2026-01-02T00:00:00+00:00")
    _record(lake, "other", "pets", "2026-01-03T00:00:00+00:00")
    assert f"gradsieve show a-second --lake '{lake}'" in _why_not(lake, "crm")
    assert _why_not(lake, "cr") == "See gradsieve runs."
    (lake / "runs" / "z-first" / "run.json").write_text("{}")
    assert _why_not(lake, "crm") == "See gradsieve runs.", "of runs that cannot be read none is the newest"


def test_the_usual_lake_is_not_typed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _record(tmp_path / "data", "a-run", "crm", "2026-01-01T00:00:00+00:00")
    assert "gradsieve show a-run;" in _why_not(tmp_path / "data", "crm")
