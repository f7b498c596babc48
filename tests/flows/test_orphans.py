"""Runs whose process is gone are put in line again; one that only begins is not taken for one."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from flows.command_line import serve
from flows.operations import orphans, run_lease
from flows.operations.orphans import Orphanage
from flows.operations.peers import END_SECONDS, GONE_SECONDS, Peers, is_handed_on
from flows.operations.server import Services
from flows.operations.server_api import ServerApi

POOL = "of-orphans"
# Holds the lease of a run as long as it lives.
HOLDER = "import sys; from flows.operations.run_lease import take; from pathlib import Path\n"
HOLDER += "lease = take(Path(sys.argv[1]), sys.argv[2]); print(lease is not None, flush=True); sys.stdin.read()"
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
        ("Execution was aborted by Python system exit call.", "AwaitingRetry"),
        ("Request to http://127.0.0.1:1/api/flow_runs/filter failed: ConnectError", "AwaitingRetry"),
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


def test_one_that_fails_for_want_of_an_answer_of_the_server_is_taken_up_and_one_that_fails_otherwise_is_not(
    api, orphanage, begin
):
    away, other = begin(), begin()
    for run, error in ((away, "ConnectError: All connection attempts failed"), (other, "BadInput: no such file")):
        message = f"Flow run encountered an exception: {error}"
        api.ask(f"flow_runs/{run}/set_state", state={"type": "FAILED", "message": message}, force=True)
    orphanage.resume_later()
    assert states(api, away, other) == ["AwaitingRetry", "Failed"]


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


def test_there_may_be_more_of_them_than_prefect_tells_of_at_a_time(orphanage, begin, monkeypatch, api):
    monkeypatch.setattr(orphans, "_AT_A_TIME", 2)
    runs = [begin() for _ in range(4)]
    orphanage.resume_later()
    assert states(api, *runs) == ["AwaitingRetry"] * 4


def test_runs_that_were_scheduled_together_have_a_lease_each(tmp_path):
    """Prefect's ids begin with the time: of a thousand made at once an eighth shared their first 62 bits."""
    first, second = "01a228f1-97f8-7679-b710-9f6230abdea4", "01a228f1-97f8-7679-a43a-86dda259ed29"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path), first], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        assert [run_lease.is_held(tmp_path, run) for run in (first, second)] == [True, False]
        process.kill()


def test_a_machine_has_the_same_name_after_each_start_and_none_that_another_has_under_its_path(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    name = Peers.of(home).machine
    assert Peers.of(home).machine == name
    # The path is the same on each machine, and so may the host name be.
    home.rename(tmp_path / "elsewhere")
    home.mkdir()
    assert Peers.of(home).machine != name == Peers.of(tmp_path / "elsewhere").machine


@pytest.fixture
def several(api, orphanage) -> Iterator[tuple[Orphanage, list[float]]]:
    """On a database of several machines; and what time it is here."""
    now = [0.0]
    yield replace(orphanage, peers=Peers(f"{MARK}here (1)", lambda: now[0])), now
    for run in api.ask("flow_runs/filter", work_pools={"name": {"any_": [POOL]}}, limit=200):
        api.ask(f"flow_runs/{run['id']}", "DELETE")


MARK = "gradsieve serve on "
HERE, THERE = f"{MARK}here (1), worker-1", f"{MARK}there (2), worker-1"


def hand_to(api: ServerApi, run: str, worker: str) -> None:
    """As a worker does with a run that it starts."""
    api.ask(f"flow_runs/{run}/labels", "PATCH", **{"prefect.worker.name": worker})


def beat(api: ServerApi, worker: str) -> None:
    api.ask(f"work_pools/{POOL}/workers/heartbeat", name=worker)


def test_on_a_database_of_several_only_what_was_handed_to_this_machine_last_and_what_any_worker_reports_is_taken_up(
    api, several, begin
):
    orphanage, _ = several
    ours, submitted, taken, foreign, reported = runs = [begin() for _ in range(5)]
    for run, worker in zip(runs, (HERE, HERE, HERE, THERE, THERE), strict=True):
        hand_to(api, run, worker)
    # Its worker died before it had a process.
    api.ask(f"flow_runs/{submitted}/set_state", state={"type": "PENDING", "name": "Submitting"}, force=True)
    # A worker, of whichever machine, has it now, and has not said so yet.
    api.ask(f"flow_runs/{taken}/set_state", state={"type": "PENDING"}, force=True)
    crash(api, reported, KILLED)
    orphanage.resume_later()
    expected = ["AwaitingRetry", "AwaitingRetry", "Pending", "Running", "AwaitingRetry"]
    assert states(api, ours, submitted, taken, foreign, reported) == expected
    # By name, as when it is stopped.
    orphanage.resume_later({foreign}, stopped=True)
    assert states(api, foreign) == ["AwaitingRetry"]


def test_runs_of_a_machine_that_is_not_heard_of_for_five_minutes_are_taken_up(api, several, begin):
    orphanage, now = several
    running, submitted, paused, _by_hand = runs = [begin() for _ in range(4)]
    for run, worker in zip(runs, (THERE, THERE, THERE, "a worker that somebody started"), strict=True):
        hand_to(api, run, worker)
    api.ask(f"flow_runs/{submitted}/set_state", state={"type": "PENDING", "name": "Submitting"}, force=True)
    api.ask(f"flow_runs/{paused}/set_state", state={"type": "PAUSED"}, force=True)
    before = ["Running", "Submitting", "Paused", "Running"]
    for seconds in (0, GONE_SECONDS - 1):
        now[0] = seconds
        beat(api, THERE)
        orphanage.resume_later(settled=20)
        assert states(api, *runs) == before
    now[0] += GONE_SECONDS - 1
    orphanage.resume_later(settled=20)
    assert states(api, *runs) == before
    now[0] += 1
    orphanage.resume_later(settled=20)
    assert states(api, *runs) == ["AwaitingRetry", "AwaitingRetry", "AwaitingRetry", "Running"]
    assert "1 of 3" in api.ask(f"flow_runs/{running}", "GET")["state"]["message"]


def test_one_that_is_pending_for_five_minutes_and_was_handed_to_nobody_is_taken_up_or_cancelled(api, several, begin):
    orphanage, now = several
    pending, cancelling, running = begin(), begin(), begin()
    for run, state in ((pending, "PENDING"), (cancelling, "CANCELLING")):
        api.ask(f"flow_runs/{run}/set_state", state={"type": state}, force=True)
    for seconds, expected in (
        (0, ["Pending", "Cancelling"]),
        (GONE_SECONDS - 1, ["Pending", "Cancelling"]),
        (GONE_SECONDS, ["AwaitingRetry", "Cancelled"]),
    ):
        now[0] = seconds
        orphanage.resume_later()
        assert states(api, pending, cancelling, running) == [*expected, "Running"]


def test_one_that_another_machine_has_put_in_line_meanwhile_is_left_to_it(api, several, begin, monkeypatch):
    orphanage, _ = several
    run = begin()
    hand_to(api, run, HERE)

    def meanwhile(_self: Orphanage, _run: dict) -> int:
        api.ask(f"flow_runs/{run}/set_state", state={"type": "PENDING"}, force=True)
        return 0

    monkeypatch.setattr(Orphanage, "_tries", meanwhile)
    orphanage.resume_later()
    assert states(api, run) == ["Pending"]


@pytest.mark.parametrize(
    ("worker", "handed_to", "state", "expected"),
    [
        (HERE, HERE, "PENDING", False),
        (HERE, THERE, "PENDING", True),
        (HERE, HERE, "RUNNING", True),
        ("ProcessWorker 1", THERE, "RUNNING", False),
    ],
)
def test_a_process_that_begins_late_leaves_its_run_to_whom_it_was_handed_since(
    api, begin, worker, handed_to, state, expected
):
    run = begin()
    hand_to(api, run, handed_to)
    api.ask(f"flow_runs/{run}/set_state", state={"type": state}, force=True)
    assert is_handed_on(run, {"PREFECT__WORKER_NAME": worker, "PREFECT_API_URL": api.url}) == expected


def test_a_process_that_is_not_told_whose_its_run_is_begins_nothing_and_says_why(tmp_path):
    """Nobody listens at its server's address."""
    about = {"PREFECT__FLOW_RUN_ID": "00000000-0000-0000-0000-000000000000", "PREFECT__WORKER_NAME": HERE}
    done = subprocess.run(
        [sys.executable, "-m", "flows.operations.run_engine"],
        env=os.environ | about | {"PREFECT_HOME": str(tmp_path), "PREFECT_API_URL": "http://127.0.0.1:9/api"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (1, "", []), done.stderr
    assert "did not say whose it is" in done.stderr
    assert "Traceback" not in done.stderr


def test_who_serves_asks_again_later_where_its_server_refuses(tmp_path):
    services = Services("", tmp_path, {"PREFECT_API_URL": "http://127.0.0.1:9/api"}, threading.Event())
    assert services.resume_later() is False


def crash(api: ServerApi, run: str, message: str) -> None:
    api.ask(f"flow_runs/{run}/set_state", state={"type": "CRASHED", "message": message}, force=True)


def test_one_whose_process_holds_its_lease_is_left_alone_whatever_prefect_knows_of_it(api, orphanage, begin):
    run = begin()
    command = [sys.executable, "-c", HOLDER, str(orphanage.home), run]
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
        def resume_later(self, settled: float = 0) -> bool:
            seen.append(settled)
            self.stop_event.set()
            return True

        def first_ended(self) -> None:
            """Of nobody that there is."""

    monkeypatch.setattr(serve, "_LOOK_SECONDS", 0)
    stop_event = threading.Event()
    serve._watch_over(Looked("", tmp_path, {}, stop_event, None if alone else Peers("")), stop_event)
    assert seen == [serve._SETTLED_SECONDS]


@pytest.fixture
def worker() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


def test_a_worker_whose_heartbeats_do_not_arrive_is_ended_before_others_begin_its_runs(api, worker):
    now = [0.0]
    peers = Peers(f"{MARK}here (1)", lambda: now[0])
    peers.expect("worker-1")
    for seconds in (0, END_SECONDS, 2 * END_SECONDS):
        now[0] = seconds
        beat(api, HERE)
        peers.look(api, POOL, [])
        assert not peers.is_cut_off("worker-1")
    now[0] += END_SECONDS + 1
    # Heard again, as after a sleep of the machine: others may have begun its runs.
    beat(api, HERE)
    peers.look(api, POOL, [])
    assert peers.is_cut_off("worker-1")
    stop_event = threading.Event()
    # The first seconds of a machine are not counted.
    peers.guard({"worker-1": worker}, stop_event)
    assert not peers.is_cut_off("worker-1")
    now[0] += END_SECONDS + 1
    assert worker.wait(10) == -9
    stop_event.set()
    assert END_SECONDS < GONE_SECONDS / 3


def test_a_worker_that_was_cut_off_begins_again_when_the_database_answers_also_where_the_server_ended_meanwhile(
    monkeypatch, tmp_path, capsys
):
    asked: list[str] = []
    stop_event, peers = threading.Event(), Peers("")
    monkeypatch.setattr(Peers, "is_cut_off", lambda _self, name: name not in asked)
    monkeypatch.setattr(serve, "_WAITS_SECONDS", (0,))

    class CutOff(Services):
        def resume_later(self, settled: float = 0) -> bool:
            asked.append("database")
            if asked.count("database") > 3:
                stop_event.set()
            return "server" in asked

        def first_ended(self) -> str | None:
            return "server" if asked.count("database") == 2 and "server" not in asked else "worker-1"

        def start_again(self, name: str) -> None:
            asked.append(name)
            if name == "worker-1":
                stop_event.set()

    services = CutOff("", tmp_path, {}, stop_event, peers)
    with subprocess.Popen(["true"]) as services.children["server"]:
        serve._watch_over(services, stop_event)
    assert asked == ["database", "database", "server", "database", "worker-1"]
    assert capsys.readouterr().out.count("worker-1 is cut off from the database") == 1
