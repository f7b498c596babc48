"""``gradsieve serve`` in the background, for the tests that need all of it."""

from __future__ import annotations

import base64
import json
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from environments import environment_of_a_command

if TYPE_CHECKING:
    from tests.conftest import Nursery

END = 90


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def environment(**more: str) -> dict[str, str]:
    # So that tests need not wait: the scheduler looks every minute, who waits for a turn every half, a worker for runs
    # every ten seconds. Not oftener: each look is a hundredth of a second of the server's.
    quick = {
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "3",
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
    }
    return environment_of_a_command(**quick | more)


class Serving:
    """``gradsieve serve`` in the background; all its processes as they are shipped, or from the nursery."""

    def __init__(self, nursery: Nursery, lake: Path, port: int, *options: str, shipped: bool, **variables: str) -> None:
        self.nursery, self.lake, self.port, self.address = nursery, lake, port, f"http://127.0.0.1:{port}"
        self.password = variables.get("PREFECT_SERVER_API_AUTH_STRING")
        self.told: list[str] = []
        """The lines it printed until it was ready."""
        python = sys.executable if shipped else str(nursery.home / "python")
        command = [python, "-m", "flows", "serve", "--lake", str(lake), "--port", str(port), *options]
        self.process = subprocess.Popen(
            command, env=environment(**variables), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def ready(self) -> Serving:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.told.append(line)
            if line.startswith("Ctrl-C"):
                return self
        raise AssertionError((self.told, self.process.communicate()))

    @property
    def deployments(self) -> dict[str, str]:
        """Their ids by their names."""
        return {found["name"]: found["id"] for found in self.ask("deployments/filter")}

    def take_runs_from_the_nursery(self, *deployments: str) -> None:
        """Have the worker start a run's process by a command that has it in the nursery: of some, or of all."""
        for name, deployment in self.deployments.items():
            if name in (deployments or self.deployments):
                variables = {"command": self.nursery.command_of_runs()}
                self.ask(f"deployments/{deployment}", "PATCH", job_variables=variables)

    def start_runs_by_itself(self, deployment: str) -> None:
        """Have the worker start them as it does for a user: a process that imports everything."""
        self.ask(f"deployments/{self.deployments[deployment]}", "PATCH", job_variables={})

    def run(self, deployment: str, **parameters: object) -> str:
        """Ask for a run of it; its id."""
        given = {"parameters": {"config": {"lake": str(self.lake)} | parameters}} if parameters else {}
        return self.ask(f"deployments/{self.deployments[deployment]}/create_flow_run", **given)["id"]  # type: ignore[call-overload]

    def state(self, run: str) -> str:
        """Its name."""
        return self.runs(flow_runs={"id": {"any_": [run]}})[0]["state_name"]

    def until_it_is(self, run: str, *states: str, seconds: float = END) -> str:
        """Wait for a run; its state."""
        find = {"flow_runs": {"id": {"any_": [run]}}}
        told = lambda: f"{states}, not {self.runs(**find)[0]['state']}"  # noqa: E731
        return self.until(lambda: (now := self.state(run)) in states and now, told, seconds)

    def log(self, name: str = "worker-1") -> str:
        return (self.lake / ".prefect" / f"{name}.log").read_text(errors="replace")

    def ask(self, path: str, method: str = "POST", /, **body: object) -> list[dict]:
        asked = urllib.request.Request(f"{self.address}/api/{path}", json.dumps(body).encode(), method=method)  # noqa: S310  our own
        asked.add_header("Content-Type", "application/json")
        if self.password:
            asked.add_header("Authorization", f"Basic {base64.b64encode(self.password.encode()).decode()}")
        deadline = time.monotonic() + END
        while True:
            try:
                with urllib.request.urlopen(asked, timeout=END) as answer:  # noqa: S310
                    return json.loads(answer.read() or "null")
            except urllib.error.HTTPError as error:
                # SQLite is busy; Prefect's own clients ask again as well.
                if error.code != 503 or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def ask_list(self, path: str, body: list[dict]) -> None:
        asked = urllib.request.Request(f"{self.address}/api/{path}", json.dumps(body).encode())  # noqa: S310  our own
        asked.add_header("Content-Type", "application/json")
        urllib.request.urlopen(asked, timeout=10).close()  # noqa: S310

    def runs(self, **fields: object) -> list[dict]:
        return self.ask("flow_runs/filter", **fields)

    def until(self, found, what: str | Callable[[], str], seconds: float = END):
        deadline, pause = time.monotonic() + seconds, 0.2
        while not (result := found()):
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline, what if isinstance(what, str) else what()
            time.sleep(pause)  # each question is hundredths of a second of the server's, which has runs to look after
            pause = min(1.2 * pause, 1.0)
        return result

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.nursery.run(arguments, None, None, PREFECT_API_URL=f"{self.address}/api")

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)


@pytest.fixture(scope="session")
def unused_port() -> Callable[[], int]:
    """A port that nobody listens on, another each time."""
    return free_port


@pytest.fixture(scope="module")
def serve(nursery: Nursery, empty_database: Path, request: pytest.FixtureRequest) -> Iterator[Callable[..., Serving]]:
    """Start one and wait for it: ``serve(lake, *options, **variables of its environment)``. Stopped with the file.

    Its database is a copy, unless it is there already or to be made ``anew``. Its processes come from the
    nursery, and so do its runs, unless it is to be as it is ``shipped``: test_serve.py's is.
    """
    started: list[Serving] = []

    def start(
        lake: Path, *options: str, port: int | None = None, anew: bool = False, shipped: bool = False, **variables: str
    ) -> Serving:
        home = lake / ".prefect"
        if not home.exists() and not anew:
            request.getfixturevalue("server")  # the first of a session makes it
            home.mkdir(parents=True)
            shutil.copy(empty_database, home / "prefect.db")
            # Which knows of all types of blocks.
            variables.setdefault("PREFECT_API_BLOCKS_REGISTER_ON_START", "false")
        started.append(Serving(nursery, lake, port or free_port(), *options, shipped=shipped, **variables))
        return started[-1].ready()

    yield start
    for serving in started:
        serving.stop()
