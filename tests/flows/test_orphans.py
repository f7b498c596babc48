"""Runs whose process is gone are put in line again; one that only begins is not taken for one."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flows.command_line import serve
from flows.operations import run_lease
from flows.operations.orphans import Orphanage
from flows.operations.server import Services
from flows.operations.server_api import ServerApi

POOL = "of-orphans"
KILLED = "Process exited with status code: -9. It was killed."


@pytest.fixture(scope="module")
def api(server: str) -> ServerApi:
    """With a pool and a deployment to it, at which no worker works."""
    api = ServerApi(server)
    api.ask("work_pools/", name=POOL, type="process")
    flow = api.ask("flows/", name="orphaned")
    api.ask("deployments/", name="orphaned", flow_id=flow["id"], work_pool_name=POOL)
    return api


@pytest.fixture
def orphanage(api: ServerApi, tmp_path) -> Orphanage:
    return Orphanage(api, POOL, tmp_path)


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


def test_a_run_that_has_only_just_begun_is_left_alone_and_an_older_one_is_taken_up(api, orphanage, begin):
    older = begin()
    time.sleep(2)
    younger = begin()
    orphanage.resume_later(settled=(age(api, older) + age(api, younger)) / 2)
    assert states(api, older, younger) == ["AwaitingRetry", "Running"]
    orphanage.resume_later()
    assert states(api, older, younger) == ["AwaitingRetry", "AwaitingRetry"]


def test_of_named_runs_no_other_is_taken_up(api, orphanage, begin):
    named, other = begin(), begin()
    orphanage.resume_later({named})
    assert states(api, named, other) == ["AwaitingRetry", "Running"]


def test_one_that_is_to_be_cancelled_is_and_one_whose_process_is_gone_too_often_has_crashed(api, orphanage, begin):
    cancelling, often = begin(), begin()
    api.ask(f"flow_runs/{cancelling}/set_state", state={"type": "CANCELLING"}, force=True)
    for number in (1, 2, 3):
        orphanage.resume_later({often})
        assert states(api, often) == ["AwaitingRetry"]
        assert f"{number} of 3" in api.ask(f"flow_runs/{often}", "GET")["state"]["message"]
        api.ask(f"flow_runs/{often}/set_state", state={"type": "RUNNING"}, force=True)
    orphanage.resume_later({cancelling, often})
    assert states(api, cancelling, often) == ["Cancelled", "Crashed"]


@pytest.mark.parametrize(
    ("message", "state"),
    [
        (KILLED, "AwaitingRetry"),
        ("Flow run infrastructure exited with non-zero status code -9.", "AwaitingRetry"),
        ("Execution was cancelled by the runtime environment.", "Crashed"),
    ],
)
def test_one_that_a_worker_reports_as_crashed_is_taken_up_a_few_times_and_one_that_says_why_it_ends_is_not(
    api, orphanage, begin, message, state
):
    run = begin()
    for number in range(4):
        crash(api, run, message)
        orphanage.resume_later()
        assert states(api, run) == [state if number < 3 else "Crashed"]
        api.ask(f"flow_runs/{run}/set_state", state={"type": "RUNNING"}, force=True)


def test_an_end_that_a_worker_reports_twice_counts_once_and_what_is_stopped_or_waits_for_a_person_not_at_all(
    api, orphanage, begin
):
    run = begin()
    crash(api, run, KILLED)
    orphanage.resume_later({run}, settled=20)
    assert states(api, run) == ["Crashed"]  # the worker may say more
    for message in (KILLED, "Flow run infrastructure exited with non-zero status code -9."):
        crash(api, run, message)
        orphanage.resume_later({run})
        assert "1 of 3" in api.ask(f"flow_runs/{run}", "GET")["state"]["message"]
    for kind, stopped in (("RUNNING", True), ("CRASHED", True), ("PAUSED", False)) * 2:
        state = {"type": kind, "message": KILLED if kind == "CRASHED" else None}
        api.ask(f"flow_runs/{run}/set_state", state={"type": "RUNNING"}, force=True)
        api.ask(f"flow_runs/{run}/set_state", state=state, force=True)
        orphanage.resume_later({run}, stopped=stopped)
        found = api.ask(f"flow_runs/{run}", "GET")["state"]
        assert (found["name"], "of 3" in found["message"]) == ("AwaitingRetry", False)
    crash(api, run, KILLED)
    orphanage.resume_later({run})
    assert "2 of 3" in api.ask(f"flow_runs/{run}", "GET")["state"]["message"]


def test_one_that_a_person_has_suspended_waits_without_a_process(api, orphanage, begin):
    run = begin()
    api.ask(f"flow_runs/{run}/set_state", state={"type": "PAUSED", "name": "Suspended"}, force=True)
    orphanage.resume_later({run})
    assert states(api, run) == ["Suspended"]


def test_on_a_database_of_several_only_what_this_machine_has_begun_last_and_what_any_worker_reports_is_taken_up(
    api, orphanage, begin
):
    ours, handed_on, foreign, reported = (begin() for _ in range(4))
    for run in (ours, handed_on):
        run_lease.note_begin(orphanage.home, run)
    for state in ("PENDING", "RUNNING"):  # on another machine, where it was in line again
        api.ask(f"flow_runs/{handed_on}/set_state", state={"type": state}, force=True)
    crash(api, reported, KILLED)
    several = replace(orphanage, alone=False)
    several.resume_later()
    expected = ["AwaitingRetry", "Running", "Running", "AwaitingRetry"]
    assert states(api, ours, handed_on, foreign, reported) == expected
    # By name, as when it is stopped: the note of one that ended by itself is gone.
    several.resume_later({foreign}, stopped=True)
    assert states(api, foreign) == ["AwaitingRetry"]


def crash(api: ServerApi, run: str, message: str) -> None:
    api.ask(f"flow_runs/{run}/set_state", state={"type": "CRASHED", "message": message}, force=True)


def test_one_whose_process_holds_its_lease_is_left_alone_whatever_prefect_knows_of_it(api, orphanage, begin):
    run = begin()
    holder = "import sys; from flows.operations.run_lease import take; from pathlib import Path\n"
    holder += "lease = take(Path(sys.argv[1]), sys.argv[2]); print(lease is not None, flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", holder, str(orphanage.home), run]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert run_lease.take(orphanage.home, run) is None
        orphanage.resume_later()
        assert (states(api, run), run in orphanage.alive()) == (["Running"], True)
        process.kill()
    orphanage.resume_later()
    assert (states(api, run), orphanage.alive()) == (["AwaitingRetry"], set())


@pytest.mark.parametrize("alone", [True, False])
def test_who_serves_looks_for_them_now_and_then(alone, monkeypatch, tmp_path):
    seen: list[float] = []

    class Looked(Services):
        def resume_later(self, settled: float = 0) -> None:
            seen.append(settled)
            self.stop_event.set()

        def first_ended(self) -> None:
            """Of nobody that there is."""

    monkeypatch.setattr(serve, "_LOOK_SECONDS", 0)
    stop_event = threading.Event()
    serve._watch_over(Looked("", tmp_path, {}, stop_event, alone), stop_event)
    assert seen == [serve._SETTLED_SECONDS]
