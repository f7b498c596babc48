"""One command serves all of it, on one machine: server, worker, deployments; and stops it without a trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import httpx
import pytest
from small_runs import SMALL_COMPARISON

from tasks.pipeline.artefacts import Run
from tasks.pipeline.dataset_lock import DatasetLock

pytestmark = pytest.mark.server
END = 90
# A cleaning of a few seconds.
SMALL_CLEANING = {
    "reader": {"kind": "digits", "options": {"limit": 250}}, "training": {"epochs": 1}, "folds": 2,
    "detectors": [{"kind": "l2"}], "budget": {"kind": "share"}, "canaries": {"share": 0.0},
    "verification": {"seeds": 1},
}  # fmt: skip


@pytest.fixture(scope="module")
def receiver():
    """(address, what was sent there)."""
    sent: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
            self.send_response(200)
            self.end_headers()

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/a-planted-address", sent
        server.shutdown()


@pytest.fixture(scope="module")
def mails(unused_port):
    """(Apprise address of a mail server, what was sent there)."""
    from aiosmtpd.controller import Controller

    received: list[str] = []

    class Handler:
        async def handle_DATA(self, _server, _session, envelope) -> str:  # noqa: N802  aiosmtpd's name
            received.append(envelope.content.decode())
            return "250 OK"

    controller = Controller(Handler(), hostname="127.0.0.1", port=unused_port())
    controller.start()
    yield f"mailto://127.0.0.1:{controller.port}/?from=sieve@example.org&to=a-planted-reader@example.org", received
    controller.stop()


@pytest.fixture(scope="module")
def serving(receiver, mails, serve, tmp_path_factory):
    lake = tmp_path_factory.mktemp("served") / "lake"
    # An alarm after ten seconds without success, the shortest that Prefect knows.
    notices = {"GRADSIEVE_WEBHOOK": receiver[0], "GRADSIEVE_NOTIFY": mails[0], "GRADSIEVE_STALE_HOURS": str(10 / 3600)}
    serving = serve(lake, anew=True, shipped=True, **notices)
    # Where a test does not say otherwise: what it is about begins as it is shipped.
    serving.take_runs_from_the_nursery()
    return serving


def test_its_deployments_are_there_scheduled_with_parameters_that_the_form_takes(serving):
    from flows.command_line.flow_commands import CONFIGURATIONS

    flows = {flow["id"]: flow["name"] for flow in serving.ask("flows/filter")}
    found = {f"{flows[d['flow_id']]}/{d['name']}": d for d in serving.ask("deployments/filter")}
    assert set(found) == {
        "clean/nightly",
        "clean/on-new-data",
        "compare/by-hand",
        "trace/on-request",
        "maintain/weekly",
    }
    for name, deployment in found.items():
        config = CONFIGURATIONS[name.partition("/")[0]].model_validate(deployment["parameters"]["config"])
        assert config.lake == serving.lake
        if name.startswith("clean/"):
            # A pause would take the lease of a limit away, and renewing it would fail and end the run.
            assert deployment["global_concurrency_limit"] is None
        else:
            assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"
            assert deployment["global_concurrency_limit"]["limit"] == 1
    for name in ("clean/nightly", "maintain/weekly"):
        nights = {"deployments": {"id": {"any_": [found[name]["id"]]}}}
        assert (
            serving.until(lambda nights=nights: serving.runs(**nights), "a scheduled run")[0]["state_name"]
            == "Scheduled"
        )


def test_somebody_is_told_when_no_night_succeeds(serving, receiver, mails):
    for told in (receiver[1], mails[1]):
        serving.until(lambda told=told: any("nightly has not succeeded" in text for text in told), "an alarm")
    # It would tell so again every ten seconds, with a third of what the server does.
    (alarm,) = (found for found in serving.ask("automations/filter") if "not succeeded" in found["name"])
    serving.ask(f"automations/{alarm['id']}", "PATCH", enabled=False)


def test_of_many_clicks_at_once_none_is_refused(serving):
    # Its form is small: to look through one of a hundred fields takes the server longer than to write a run down.
    deployment = serving.deployments["weekly"]

    def click(_: int) -> list[int]:
        """As a browser does, which asks once: a run is made, and cancelled before anybody takes it up."""
        with httpx.Client(base_url=f"{serving.address}/api/", timeout=END, trust_env=False) as browser:
            later = {"type": "SCHEDULED", "state_details": {"scheduled_time": "2100-01-01T00:00:00Z"}}
            made = browser.post(f"deployments/{deployment}/create_flow_run", json={"state": later})
            run = f"flow_runs/{made.json()['id']}"
            cancelled = browser.post(f"{run}/set_state", json={"state": {"type": "CANCELLED"}})
            return [made.status_code, cancelled.status_code, browser.delete(run).status_code]

    with ThreadPoolExecutor(8) as pool:
        assert {tuple(codes) for codes in pool.map(click, range(24))} == {(201, 201, 204)}


def test_a_run_that_is_triggered_is_done_by_the_worker(serving):
    serving.start_runs_by_itself("weekly")
    run = serving.run("weekly")
    assert serving.until_it_is(run, "Completed", "Failed", "Crashed") == "Completed", serving.log()[-3000:]
    serving.take_runs_from_the_nursery("weekly")


def test_changed_data_start_a_run_once(serving, tmp_path):
    (tmp_path / "data.csv").write_text("x,label\n1,a\n")
    deployment = serving.deployments["on-new-data"]
    # As it is shipped it would clean all digits, beside every test that follows.
    small = {"config": {"lake": str(serving.lake)} | SMALL_CLEANING}
    serving.ask(f"deployments/{deployment}", "PATCH", parameters=small)
    started = {"deployments": {"id": {"any_": [deployment]}}}
    for words in ("has changed", ""):
        told = serving.command(
            "watch", str(tmp_path / "data.csv"), "--lake", str(serving.lake), "--once", "--every=0.1"
        )
        assert told.returncode == 0, told.stderr
        assert (words in told.stdout) if words else told.stdout == ""
    (run,) = serving.until(lambda: serving.runs(**started), "a run by the event")
    serving.until_it_is(run["id"], "Completed")
    assert len(serving.runs(**started)) == 1


def test_somebody_is_told_when_a_run_fails_a_cleaning_harms_and_new_samples_drift(serving, receiver, mails, tmp_path):
    address, sent = receiver
    found = {d["name"]: d["id"] for d in serving.ask("deployments/filter")}
    (tmp_path / "file").write_text("no folder")
    broken = {"config": {"lake": str(tmp_path / "file" / "below")}}
    serving.ask(f"deployments/{found['weekly']}/create_flow_run", parameters=broken)
    about = {"resource": {"prefect.resource.id": "gradsieve.dataset.pets"}, "occurred": "2026-11-25T00:00:00Z"}
    payload = {"dataset": "pets", "version": "v0003", "run_id": "pets-7", "sentence": "it is worse"}
    payload |= {"run_url": "http://here/runs/flow-run/7", "page_url": "http://there/pets-7.html"}
    for name in ("verdict.harms", "drift"):
        event = {"event": f"gradsieve.{name}", "id": str(uuid.uuid4()), "payload": payload}
        serving.ask_list("events", [about | event])
    for told in (sent, mails[1]):
        wanted = ("pets v0003 harms: it is worse", "pets, run pets-7: it is worse")
        for words in wanted:
            serving.until(lambda words=words, told=told: any(words in text for text in told), words)
        serving.until(lambda told=told: any("maintain" in text and "Failed" in text for text in told), "the failure")
    # A mail breaks its lines where it likes.
    links = "The run: http://here/runs/flow-run/7 Its page: http://there/pets-7.html"
    assert sum(links in text for text in sent) == 2
    (failure,) = (text for text in sent if "maintain" in text)
    assert f"{serving.address}/runs/flow-run/" in failure
    assert any("Subject: gradsieve: a cleaning harms" in text for text in mails[1])
    kept = [
        path
        for path in serving.lake.rglob("*")
        if path.is_file() and any(secret in path.read_bytes() for secret in (address.encode(), b"a-planted-reader"))
    ]
    assert kept == []


@pytest.mark.parametrize(
    ("killed", "tries"),
    [
        pytest.param(("worker", "run_engine"), {2}, id="machine"),
        pytest.param(("worker",), {2}, id="worker"),
        pytest.param(("run_engine",), {2}, id="engine"),
        pytest.param(("prefect_server",), {1, 2}, id="server"),
    ],
)
def test_what_is_killed_is_begun_again_and_so_is_the_run(serving, killed, tries):
    # Whose process is killed has begun as it is shipped; the one that goes on need not.
    if "prefect_server" not in killed:
        serving.start_runs_by_itself("by-hand")
    run = serving.run("by-hand", **SMALL_COMPARISON | {"seeds": 2})
    serving.until_it_is(run, "Running")
    serving.take_runs_from_the_nursery("by-hand")
    there = {pid: command_of(pid) for pid in children(serving.process.pid)}
    gone = [pid for word in killed for pid, command in there.items() if word in command]
    assert len(gone) >= len(killed), there
    for pid in gone:
        os.kill(pid, signal.SIGKILL)
    serving.until(lambda: answers(serving), "a server")
    # Prefect's clients ask a server that was away again after 2, 4, 8, 16 and 32 seconds.
    serving.until_it_is(run, "Completed", seconds=2 * END)
    (found,) = serving.runs(flow_runs={"id": {"any_": [run]}})
    assert found["run_count"] in tries


def answers(serving) -> bool:
    with suppress(OSError):
        return serving.ask("health", "GET")
    return False


def test_a_run_that_is_handed_out_twice_is_done_once(serving):
    # Of a deployment whose runs do not wait for one another; at work for as long as another has the dataset.
    with DatasetLock(Run.start(serving.lake, "digits"), "digits"):
        run = serving.run("nightly", **SMALL_CLEANING)
        serving.until_it_is(run, "Running")
        # As it happens when it is put in line again while its process begins.
        serving.ask(f"flow_runs/{run}/set_state", state={"type": "SCHEDULED", "name": "AwaitingRetry"}, force=True)
        serving.until(lambda: f"flow run {run} has a process already" in serving.log(), "a second process")
    serving.until_it_is(run, "Completed")
    (found,) = serving.runs(flow_runs={"id": {"any_": [run]}})
    assert found["run_count"] == 1


def test_old_runs_go_with_their_artifacts_by_maintain(serving):
    flow = serving.ask("flows/", name="maintain")["id"]
    run = serving.ask("flow_runs/", flow_id=flow, state={"type": "RUNNING"})["id"]
    serving.ask("artifacts/", key="a-table", type="markdown", data="x", flow_run_id=run)
    serving.ask(f"flow_runs/{run}/set_state", state={"type": "COMPLETED"})
    artifacts = {"artifacts": {"flow_run_id": {"any_": [run]}}}
    assert serving.ask("artifacts/filter", **artifacts)
    command = ("maintain", "--lake", str(serving.lake), "--runs-days=0")
    for option, words, left in (("--dry-run", "would go", 1), ("--dry-run=false", "are gone", 0)):
        done = serving.command(*command, option)
        assert (done.returncode, words in done.stdout) == (0, True), done.stdout + done.stderr
        assert len(serving.runs(flow_runs={"id": {"any_": [run]}})) == left
    assert serving.ask("artifacts/filter", **artifacts) == []


def test_a_second_one_on_the_same_lake_or_port_is_refused(serving, tmp_path):
    again = serving.command("serve", "--lake", str(serving.lake), "--port", "1")
    assert again.returncode == 2
    other = serving.command("serve", "--lake", str(tmp_path), "--port", str(serving.port))
    assert (other.returncode, "port" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--workers=5"], "postgresql"),
        (["--host=0.0.0.0"], "PREFECT_SERVER_API_AUTH_STRING"),
        (["--database=postgresql+asyncpg://me:a-secret@127.0.0.1/db"], "PGPASSWORD"),
    ],
)
def test_what_would_hang_lie_open_or_be_read_is_refused(nursery, tmp_path, options, words):
    done = nursery.run(("serve", "--lake", str(tmp_path), *options), None, None)
    assert (done.returncode, words in done.stderr, "a-secret" in done.stderr) == (2, True, False), done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "deployments:\n- {name: nightly, entrypoint: 'flows/clean.py:clean', parameters: {config: {folds: 0}}}\n",
            "clean/nightly: .* got folds: .*greater than or equal to 1",
        ),
        (
            "deployments:\n- {name: nightly, entrypoint: 'flows/clean.py:clean', parameters: {cfg: {}}}\n",
            "clean/nightly: expected one parameter, config.* got cfg",
        ),
        (
            "deployments:\n- {name: a, entrypoint: 'flows/trace.py:trace', parameters: {config: {}, extra: 1}}\n",
            "trace/a: expected one parameter, config.* got extra",
        ),
        (
            "deployments:\n- {name: nightly, entrypoint: 'flows/other.py:other'}\n",
            "one of clean, compare, trace, maintain",
        ),
        ("deployments: 3\n", "Begin with a copy of deployments/prefect.yaml"),
        ("a: [\n", "Begin with a copy"),
    ],
)
def test_deployments_that_could_not_run_are_refused_before_anything_starts(tmp_path, text, words):
    from flows.command_line.serve import check_deployments
    from tasks.core.errors import BadConfig

    file = tmp_path / "prefect.yaml"
    file.write_text(text)
    with pytest.raises(BadConfig, match=words):
        check_deployments(file)


def children(parent: int) -> set[int]:
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found: set[int] = {parent}
    while more := {pid for pid, above in pairs if above in found} - found:
        found |= more
    return found - {parent}


def command_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def test_it_stops_within_seconds_and_what_it_was_about_goes_on_after_a_restart(serving, serve):
    """The last but those with a server of their own."""
    serving.start_runs_by_itself("by-hand")
    run = serving.run("by-hand", **SMALL_COMPARISON | {"seeds": 2})
    serving.until_it_is(run, "Running")
    below = children(serving.process.pid)
    assert len(below) >= 3
    began = time.monotonic()
    assert serving.stop() == 0
    assert time.monotonic() - began < 25
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]
    second = serve(serving.lake, port=serving.port, shipped=True)
    assert len(second.deployments) == 5
    second.until_it_is(run, "Completed")
    (found,) = second.runs(flow_runs={"id": {"any_": [run]}})
    assert found["run_count"] == 2
    assert second.stop() == 0


def test_a_signal_while_it_starts_ends_it(tmp_path):
    command = [sys.executable, "-m", "flows", "serve", "--lake", str(tmp_path / "lake"), "--port", "4398"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starting:
        while not (log := tmp_path / "lake" / ".prefect" / "server.log").exists() or not log.stat().st_size:
            time.sleep(0.1)
        below = children(starting.pid)
        starting.send_signal(signal.SIGTERM)
        told, _ = starting.communicate(timeout=30)
    assert (starting.returncode, told) == (0, "gradsieve: stopped\n")
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]
