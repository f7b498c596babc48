"""A command line runs a factory of one's own; a deployment or a form does not, unless the worker was started so."""

from __future__ import annotations

import sys

import pytest
from pydantic import ValidationError

from flows.command_line.serve import check_deployments
from tasks.config import CleanConfig
from tasks.core.errors import BadConfig
from tasks.core.foreign_code import ALLOW, named_by_a_lake
from tasks.dataset.own_network import frozen_network

MODELS = {
    "custom": {"kind": "custom", "options": {"factory": "trap:network"}},
    "encoder": {"kind": "encoder", "options": {"encoder_factory": "trap:network"}},
}


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """A module that leaves a file behind when it is imported."""
    (tmp_path / "trap.py").write_text(f"open({str(tmp_path / 'sprung')!r}, 'w')\ndef network(*_): return None\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path / "sprung"
    sys.modules.pop("trap", None)


@pytest.fixture
def of_a_worker(monkeypatch):
    """The environment that a worker gives a run."""
    monkeypatch.setenv("PREFECT__FLOW_RUN_ID", "9b9b")


@pytest.mark.parametrize("kind", MODELS)
def test_a_run_of_a_deployment_refuses_it_before_anything_is_imported(trap, of_a_worker, kind):
    with pytest.raises(ValidationError, match=r"trap:network is code from outside.*serve --allow-code"):
        CleanConfig.model_validate({"model": MODELS[kind]})
    assert not trap.exists()


@pytest.mark.parametrize("kind", MODELS)
def test_it_takes_it_from_a_worker_that_was_started_so(of_a_worker, monkeypatch, kind):
    monkeypatch.setenv(ALLOW, "true")
    assert CleanConfig.model_validate({"model": MODELS[kind]}).model.component.own_code == "trap:network"


@pytest.mark.parametrize("kind", MODELS)
def test_a_command_line_takes_it(monkeypatch, kind):
    monkeypatch.delenv("PREFECT__FLOW_RUN_ID", raising=False)
    assert CleanConfig.model_validate({"model": MODELS[kind]}).model.kind == kind


def test_a_recorded_runs_network_is_not_imported_either(trap, of_a_worker):
    with pytest.raises(BadConfig, match="code from outside"):
        frozen_network("trap:network")
    assert not trap.exists()


@pytest.mark.parametrize("kind", MODELS)
def test_a_server_refuses_deployments_that_name_it_unless_it_may_run_it(trap, tmp_path, kind):
    file = tmp_path / "prefect.yaml"
    file.write_text(
        "deployments:\n- name: nightly\n  entrypoint: flows/clean.py:clean\n"
        f"  parameters: {{config: {{model: {MODELS[kind]}}}}}\n"
    )
    with pytest.raises(BadConfig, match="nightly: expected no code from outside, got the factory trap:network"):
        check_deployments(file)
    check_deployments(file, allow_code=True)
    assert not trap.exists()


@pytest.mark.parametrize("kind", MODELS)
def test_what_a_run_in_a_lake_names_is_run_only_for_who_says_so(trap, monkeypatch, kind):
    with named_by_a_lake(), pytest.raises(ValidationError, match=rf"trap:network is code from outside.*{ALLOW}=true"):
        CleanConfig.model_validate({"model": MODELS[kind]})
    assert not trap.exists()
    monkeypatch.setenv(ALLOW, "true")
    with named_by_a_lake():
        CleanConfig.model_validate({"model": MODELS[kind]})
