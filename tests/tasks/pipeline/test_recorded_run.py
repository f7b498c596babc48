"""What a recorded run was made with is read inside of its lake, and told as its file's fault where it cannot be."""

from __future__ import annotations

import pytest

from tasks.core.errors import BadArtefact
from tasks.pipeline.recorded_run import recorded_options


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
