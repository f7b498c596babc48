"""One command serves all of it, on one machine: server, worker, deployments; and stops it without a trace."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

pytestmark = pytest.mark.server
END = 90


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {"OMP_NUM_THREADS": "1", "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "3"} | more


class Serving:
    """``gradsieve serve`` in the background."""

    def __init__(self, lake: Path, port: int, *options: str, **variables: str) -> None:
        self.lake, self.address = lake, f"http://127.0.0.1:{port}"
        command = [sys.executable, "-m", "flows", "serve", "--lake", str(lake), "--port", str(port), *options]
        self.process = subprocess.Popen(
            command, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ready(self) -> Serving:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert self.address in line, self.process.communicate()
        return self

    def ask(self, path: str, **body: object) -> list[dict]:
        asked = urllib.request.Request(f"{self.address}/api/{path}", json.dumps(body).encode())  # noqa: S310  our own
        asked.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(asked, timeout=10) as answer:  # noqa: S310
            return json.load(answer)

    def ask_list(self, path: str, body: list[dict]) -> None:
        asked = urllib.request.Request(f"{self.address}/api/{path}", json.dumps(body).encode())  # noqa: S310  our own
        asked.add_header("Content-Type", "application/json")
        urllib.request.urlopen(asked, timeout=10).close()  # noqa: S310

    def runs(self, **fields: object) -> list[dict]:
        return self.ask("flow_runs/filter", **fields)

    def until(self, found, what: str):
        deadline = time.monotonic() + END
        while not (result := found()):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, what
            time.sleep(0.5)
        return result

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows", *arguments], env=environment(PREFECT_API_URL=f"{self.address}/api"),
            capture_output=True, text=True, timeout=END, check=False,
        )  # fmt: skip

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


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
def serving(receiver, tmp_path_factory):
    lake = tmp_path_factory.mktemp("served") / "lake"
    started = Serving(lake, free_port(), GRADSIEVE_WEBHOOK=receiver[0]).ready()
    yield started
    started.stop()


def test_its_deployments_are_there_scheduled_with_parameters_that_the_form_takes(serving):
    from tasks.config import CleanConfig, CompareConfig
    from tasks.maintenance import MaintainConfig

    flows = {flow["id"]: flow["name"] for flow in serving.ask("flows/filter")}
    found = {f"{flows[d['flow_id']]}/{d['name']}": d for d in serving.ask("deployments/filter")}
    assert set(found) == {"clean/nightly", "clean/on-new-data", "compare/by-hand", "maintain/weekly"}
    kinds = {"clean": CleanConfig, "compare": CompareConfig, "maintain": MaintainConfig}
    for name, deployment in found.items():
        config = kinds[name.partition("/")[0]].model_validate(deployment["parameters"]["config"])
        assert config.lake == serving.lake
        assert deployment["concurrency_options"]["collision_strategy"] == "ENQUEUE"
        assert deployment["global_concurrency_limit"]["limit"] == 1
    for name in ("clean/nightly", "maintain/weekly"):
        nights = {"deployments": {"id": {"any_": [found[name]["id"]]}}}
        assert (
            serving.until(lambda nights=nights: serving.runs(**nights), "a scheduled run")[0]["state_name"]
            == "Scheduled"
        )


def test_a_run_that_is_triggered_is_done_by_the_worker(serving):
    found = {d["name"]: d["id"] for d in serving.ask("deployments/filter")}
    made = serving.ask(f"deployments/{found['weekly']}/create_flow_run")
    named = {"flow_runs": {"id": {"any_": [made["id"]]}}}  # type: ignore[call-overload]
    done = serving.until(
        lambda: [r for r in serving.runs(**named) if r["state_name"] in ("Completed", "Failed", "Crashed")], "an end"
    )
    assert done[0]["state_name"] == "Completed", (serving.lake / ".prefect" / "worker-1.log").read_text()[-3000:]


def test_changed_data_start_a_run_once(serving, tmp_path):
    (tmp_path / "data.csv").write_text("x,label\n1,a\n")
    found = {d["name"]: d["id"] for d in serving.ask("deployments/filter")}
    started = {"deployments": {"id": {"any_": [found["on-new-data"]]}}}
    for words in ("has changed", ""):
        told = serving.command("watch", str(tmp_path / "data.csv"), "--lake", str(serving.lake), "--once")
        assert told.returncode == 0, told.stderr
        assert (words in told.stdout) if words else told.stdout == ""
    assert len(serving.until(lambda: serving.runs(**started), "a run by the event")) == 1


def test_a_webhook_is_called_when_a_run_fails_and_when_a_cleaning_harms(serving, receiver, tmp_path):
    address, sent = receiver
    found = {d["name"]: d["id"] for d in serving.ask("deployments/filter")}
    (tmp_path / "file").write_text("no folder")
    broken = {"config": {"lake": str(tmp_path / "file" / "below")}}
    serving.ask(f"deployments/{found['weekly']}/create_flow_run", parameters=broken)
    event = {"event": "gradsieve.verdict.harms", "resource": {"prefect.resource.id": "gradsieve.dataset.pets"}}
    event |= {"occurred": "2026-11-25T00:00:00Z", "id": "8f7a4a2e-9d0f-4d05-8f38-6d9a5a0d0001"}
    serving.ask_list(
        "events", [event | {"payload": {"dataset": "pets", "version": "v0003", "sentence": "it is worse"}}]
    )
    serving.until(lambda: any("pets v0003 harms: it is worse" in text for text in sent), "the verdict")
    serving.until(lambda: any("maintain" in text and "Failed" in text for text in sent), "the failure")
    kept = [path for path in serving.lake.rglob("*") if path.is_file() and address.encode() in path.read_bytes()]
    assert kept == []


def test_a_second_one_on_the_same_lake_or_port_is_refused(serving, tmp_path):
    port = serving.address.rpartition(":")[2]
    again = serving.command("serve", "--lake", str(serving.lake), "--port", str(free_port()))
    assert (again.returncode, "another at work" in again.stderr) == (2, True)
    other = serving.command("serve", "--lake", str(tmp_path), "--port", port)
    assert (other.returncode, "port" in other.stderr) == (2, True)


@pytest.mark.parametrize(
    ("options", "words"),
    [(["--workers=3"], "postgresql"), (["--host=0.0.0.0"], "PREFECT_SERVER_API_AUTH_STRING")],
)
def test_what_would_hang_or_lie_open_is_refused(tmp_path, options, words):
    command = [sys.executable, "-m", "flows", "serve", "--lake", str(tmp_path), "--port", str(free_port()), *options]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=END, check=False)
    assert (done.returncode, words in done.stderr) == (2, True), done.stderr


def children(parent: int) -> set[int]:
    listed = subprocess.run(["ps", "-e", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    pairs = [tuple(map(int, line.split())) for line in listed.splitlines()]
    found: set[int] = {parent}
    while more := {pid for pid, above in pairs if above in found} - found:
        found |= more
    return found - {parent}


def test_it_stops_cleanly_and_remembers_and_its_api_can_be_closed(tmp_path):
    """The last in the file: a server of its own."""
    port, secret = free_port(), "somebody:a-planted-secret"
    first = Serving(tmp_path / "lake", port, PREFECT_SERVER_API_AUTH_STRING=secret).ready()
    with pytest.raises(urllib.error.HTTPError, match="401"):
        first.ask("deployments/filter")
    below = children(first.process.pid)
    assert len(below) >= 2
    assert first.stop() == 0
    assert not [pid for pid in below if Path(f"/proc/{pid}").exists()]
    hits = [
        path for path in (tmp_path / "lake").rglob("*") if path.is_file() and b"a-planted-secret" in path.read_bytes()
    ]
    assert hits == []
    second = Serving(tmp_path / "lake", port).ready()
    try:
        assert len(second.ask("deployments/filter")) == 4
    finally:
        assert second.stop() == 0


@pytest.fixture
def postgres(tmp_path_factory):
    """The URL of a PostgreSQL of one's own, from Debian's package."""
    import shutil
    import tempfile

    (found,) = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1:] or [None]
    if found is None:
        pytest.skip("Debian's package postgresql is not installed")
    home = Path(tempfile.mkdtemp(prefix="gradsieve-pg-"))
    port = free_port()
    # It refuses to be root.
    someone = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    if someone:
        shutil.chown(home, "postgres")

    def run(*command: str) -> None:
        subprocess.run([*someone, *command], check=True, capture_output=True, text=True, cwd="/", timeout=END)

    run(str(found / "initdb"), "-D", str(home / "data"), "-A", "trust", "-U", "postgres")
    options = f"-p {port} -k {home} -c listen_addresses=127.0.0.1 -c fsync=off"
    run(str(found / "pg_ctl"), "-D", str(home / "data"), "-l", str(home / "log"), "-o", options, "-w", "start")
    run(str(found / "createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "prefect")
    yield f"postgresql+asyncpg://postgres@127.0.0.1:{port}/prefect"
    run(str(found / "pg_ctl"), "-D", str(home / "data"), "-m", "fast", "stop")
    shutil.rmtree(home, ignore_errors=True)


def test_three_workers_share_postgresql(postgres, tmp_path):
    serving = Serving(tmp_path / "lake", free_port(), "--workers=3", "--database", postgres).ready()
    try:
        found = {d["name"]: d["id"] for d in serving.ask("deployments/filter")}
        options = {"lake": str(tmp_path / "lake"), "reader": {"kind": "half_moons"}, "training": {"epochs": 1}}
        options |= {
            "detectors": [{"kind": "l2"}, {"kind": "l1"}],
            "budgets": [{"kind": "share"}],
            "seeds": 1,
            "folds": 2,
        }
        options |= {"canaries": {"share": 0.0}}
        made = [
            serving.ask(f"deployments/{found[name]}/create_flow_run", **given)["id"]  # type: ignore[call-overload]
            for name, given in [("weekly", {}), ("by-hand", {"parameters": {"config": options}}), ("weekly", {})]
        ]
        named = {"flow_runs": {"id": {"any_": made}}}
        serving.until(lambda: {r["state_type"] for r in serving.runs(**named)} == {"COMPLETED"}, "all to be done")
        home = tmp_path / "lake" / ".prefect"
        assert len(list(home.glob("worker-*.log"))) == 3
        assert not (home / "prefect.db").exists()
        assert "database is locked" not in (home / "server.log").read_text()
    finally:
        assert serving.stop() == 0
