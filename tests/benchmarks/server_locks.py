"""How often a busy server refuses what it is asked, and how long it takes, for one, two and four who run things on it.

    python tests/benchmarks/server_locks.py [--seconds 45] [--actors 1 2 4] [--module prefect]

Each actor does what a worker and its run do: it looks for runs, heartbeats, creates a run, takes it through its states
to a pause, resumes it by the route of the UI's button, and writes logs, artifacts and events all the while. Two
processes spin beside the server. Nobody asks twice: each refusal is counted as a person would see it.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np

POOL, SERVER, ASKED = "locks", "flows.operations.prefect_server", "resume"
_NO_ANSWER = 599


class Actor(threading.Thread):
    """A worker and its runs, as the server sees them."""

    def __init__(self, url: str, deployment: str, until: float) -> None:
        super().__init__(daemon=True)
        # A connection that the server closes while it is used again would look like a refusal.
        once = httpx.Limits(max_keepalive_connections=0)
        self.client = httpx.Client(base_url=url, timeout=120, trust_env=False, limits=once)
        self.deployment, self.until, self.name_of_worker = deployment, until, f"worker-{uuid.uuid4()}"
        self.codes: Counter[tuple[str, int]] = Counter()
        self.seconds: list[float] = []

    def ask(self, what: str, path: str, body: Any) -> Any:
        """What is answered; counted."""
        began = time.monotonic()
        try:
            answer = self.client.post(path, json=body)
        except httpx.TransportError:
            self.codes[what, _NO_ANSWER] += 1
            return None
        self.seconds.append(time.monotonic() - began)
        self.codes[what, answer.status_code] += 1
        return answer.json() if answer.is_success and answer.content else None

    def run(self) -> None:
        """Run after run."""
        while time.monotonic() < self.until:
            self.ask("heartbeat", f"work_pools/{POOL}/workers/heartbeat", {"name": self.name_of_worker})
            self.ask("poll", f"work_pools/{POOL}/get_scheduled_flow_runs", {})
            made = self.ask("create", f"deployments/{self.deployment}/create_flow_run", {})
            if made is not None:
                self.one_run(made["id"])

    def one_run(self, run: str) -> None:
        """From its beginning through a pause to its end."""
        for kind in ("PENDING", "RUNNING"):
            self.ask("state", f"flow_runs/{run}/set_state", {"state": {"type": kind}})
        for number in range(4):
            self.one_task(run, number)
        now = datetime.now(UTC).isoformat()
        details = {"pause_timeout": "2100-01-01T00:00:00Z", "pause_reschedule": True, "pause_key": "1"}
        self.ask(
            "state",
            f"flow_runs/{run}/set_state",
            {"state": {"type": "PAUSED", "name": "Suspended", "state_details": details}},
        )
        line = {"name": "prefect", "level": 20, "message": "a line", "timestamp": now, "flow_run_id": run}
        self.ask("logs", "logs/", [line] * 20)
        self.ask(ASKED, f"flow_runs/{run}/resume", {})
        self.ask("state", f"flow_runs/{run}/set_state", {"state": {"type": "COMPLETED"}, "force": True})

    def one_task(self, run: str, number: int) -> None:
        """A task of a run: it is made, leaves an artifact and an event, ends."""
        body = {
            "flow_run_id": run,
            "task_key": f"task-{number}",
            "dynamic_key": str(number),
            "state": {"type": "PENDING"},
        }
        task = self.ask("create", "task_runs/", body)
        self.ask(
            "artifact",
            "artifacts/",
            {"key": f"table-{number}", "type": "markdown", "data": "x" * 2000, "flow_run_id": run},
        )
        resource = {"prefect.resource.id": f"prefect.flow-run.{run}"}
        now = datetime.now(UTC).isoformat()
        self.ask(
            "event", "events", [{"event": "thing", "id": str(uuid.uuid4()), "resource": resource, "occurred": now}]
        )
        for kind in ("RUNNING", "COMPLETED") if task else ():
            self.ask("state", f"task_runs/{task['id']}/set_state", {"state": {"type": kind}})


@contextmanager
def serving(module: str, home: Path):
    """The address of a server of one's own with two processes that spin beside it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    variables = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    words = [module] if module == SERVER else [module, "server", "start"]
    children = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    with (home / "server.log").open("w") as log:
        command = [sys.executable, "-m", *words]
        children.append(subprocess.Popen(command, env=kept | variables, stdout=log, stderr=log))
    try:
        url = f"http://127.0.0.1:{port}/api/"
        until_it_answers(url)
        yield url
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.wait(30)


def until_it_answers(url: str) -> None:
    """Wait for it."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{url}health", trust_env=False).is_success:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise TimeoutError(url)


def measure(module: str, actors: int, seconds: float) -> tuple[Counter[tuple[str, int]], np.ndarray]:
    """(How often each code was answered to what, seconds of each answer)."""
    with tempfile.TemporaryDirectory() as folder, serving(module, Path(folder)) as url:
        client = httpx.Client(base_url=url, timeout=60, trust_env=False)
        client.post("work_pools/", json={"name": POOL, "type": "process"}).raise_for_status()
        flow = client.post("flows/", json={"name": "locks"}).json()["id"]
        about = {"name": "locks", "flow_id": flow, "work_pool_name": POOL}
        deployment = client.post("deployments/", json=about).json()["id"]
        until = time.monotonic() + seconds
        threads = [Actor(url, deployment, until) for _ in range(actors)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        nested = (Path(folder) / "server.log").read_text(errors="replace").count("within a transaction")
        if nested:
            print(f"{nested} transactions within transactions")
    codes = sum((thread.codes for thread in threads), Counter[tuple[str, int]]())
    return codes, np.array([second for thread in threads for second in thread.seconds])


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=45)
    parser.add_argument("--actors", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--module", nargs="+", default=["prefect", SERVER])
    given = parser.parse_args()
    print("| server | actors | answers | refused | of which resume | median s | 99 % s | longest s |")
    for module in given.module:
        for actors in given.actors:
            codes, seconds = measure(module, actors, given.seconds)
            refused = {asked: count for asked, count in codes.items() if asked[1] >= 500}
            resumes = sum(count for (what, _), count in refused.items() if what == ASKED)
            times = " | ".join(f"{value:.2f}" for value in (*np.quantile(seconds, [0.5, 0.99]), seconds.max()))
            print(
                f"| {module} | {actors} | {len(seconds)} | {sum(refused.values())} | {resumes} | {times} |", flush=True
            )
            print({f"{what} {code}": count for (what, code), count in sorted(codes.items()) if code >= 400})


if __name__ == "__main__":
    main()
