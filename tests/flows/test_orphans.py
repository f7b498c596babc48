"""Runs whose process is gone are put in line again; one that only begins is not taken for one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from flows.command_line import serve
from flows.operations.orphans import resume_later
from flows.operations.server import Services
from flows.operations.server_api import ServerApi

POOL = "of-orphans"


@pytest.fixture(scope="module")
def api(server: str) -> ServerApi:
    """With a pool and a deployment to it, at which no worker works."""
    api = ServerApi(server)
    api.ask("work_pools/", name=POOL, type="process")
    flow = api.ask("flows/", name="orphaned")
    api.ask("deployments/", name="orphaned", flow_id=flow["id"], work_pool_name=POOL)
    return api


@pytest.fixture
def begin(api: ServerApi) -> Callable[[], str]:
    """Begin a run without a process; its id."""

    def run() -> str:
        deployment = api.ask("deployments/name/orphaned/orphaned", "GET")
        made = api.ask(f"deployments/{deployment['id']}/create_flow_run")
        api.ask(f"flow_runs/{made['id']}/set_state", state={"type": "RUNNING"}, force=True)
        return made["id"]

    return run


def age(api: ServerApi, run: str) -> float:
    """Seconds that a run has been in its state."""
    begun = api.ask(f"flow_runs/{run}", "GET")["state"]["timestamp"]
    return (datetime.now(UTC) - datetime.fromisoformat(begun)).total_seconds()


def states(api: ServerApi, *runs: str) -> list[str]:
    return [api.ask(f"flow_runs/{run}", "GET")["state"]["name"] for run in runs]


def test_a_run_that_has_only_just_begun_is_left_alone_and_an_older_one_is_taken_up(api, begin):
    older = begin()
    time.sleep(2)
    younger = begin()
    resume_later(api, POOL, settled=(age(api, older) + age(api, younger)) / 2)
    assert states(api, older, younger) == ["AwaitingRetry", "Running"]
    resume_later(api, POOL)
    assert states(api, older, younger) == ["AwaitingRetry", "AwaitingRetry"]


def test_of_named_runs_no_other_is_taken_up(api, begin):
    named, other = begin(), begin()
    resume_later(api, POOL, {named})
    assert states(api, named, other) == ["AwaitingRetry", "Running"]


def test_one_that_is_to_be_cancelled_is_and_one_whose_process_is_gone_too_often_has_crashed(api, begin):
    cancelling, often = begin(), begin()
    api.ask(f"flow_runs/{cancelling}/set_state", state={"type": "CANCELLING"}, force=True)
    for _ in range(2):
        resume_later(api, POOL, {often})
        assert states(api, often) == ["AwaitingRetry"]
        api.ask(f"flow_runs/{often}/set_state", state={"type": "RUNNING"}, force=True)
    resume_later(api, POOL, {cancelling, often})
    assert states(api, cancelling, often) == ["Cancelled", "Crashed"]


@pytest.mark.parametrize(("alone", "looks"), [(True, [serve._SETTLED_SECONDS]), (False, [])])
def test_who_serves_alone_looks_for_them_now_and_then(alone, looks, monkeypatch, tmp_path):
    seen: list[float] = []

    class Looked(Services):
        def resume_later(self, runs: set[str] | None = None, settled: float = 0) -> None:
            seen.append(settled)
            self.stop_event.set()

        def first_ended(self) -> None:
            """Of nobody that there is; asked after each look."""
            self.stop_event.set()

    monkeypatch.setattr(serve, "_LOOK_SECONDS", 0)
    stop_event = threading.Event()
    serve._watch_over(Looked("", tmp_path, {}, stop_event, alone), stop_event)
    assert seen == looks
