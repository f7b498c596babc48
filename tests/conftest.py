"""What several test files share: one Prefect server, and one finished run of the main job on the embedded dataset."""

from __future__ import annotations

import os

# Two processes with two spinning threads each make two processors slower than one: before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Cleaned:
    """A finished ``gradsieve clean``."""

    lake: Path
    process: subprocess.CompletedProcess[str]

    @property
    def run_folder(self) -> Path:
        """Its run."""
        return next((self.lake / "runs").glob("digits-*"))


def _environment(**more: str) -> dict[str, str]:
    """This process's environment without its Prefect settings, and with one thread for each numeric library."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    return kept | {"OMP_NUM_THREADS": "1"} | more


@pytest.fixture(scope="session")
def small() -> list[str]:
    """Options of a run small enough to be repeated: two folds, two epochs, one seed, the first 400 digits."""
    return [
        "--reader.kind=digits",
        "--reader.limit=400",
        "--folds=2",
        "--training.epochs=2",
        "--detectors=l2,l1",
        "--verification.seeds=1",
    ]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The API address of a Prefect server with a database of its own."""
    home = tmp_path_factory.mktemp("prefect")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # The scheduler looks every five seconds instead of every minute, so that its test need not wait.
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
    }
    log = (home / "server.log").open("w")
    process = subprocess.Popen(
        [sys.executable, "-m", "prefect", "server", "start"],
        env=_environment(**settings),
        stdout=log,
        stderr=log,
        # SIGINT is ignored in the background of a non-interactive shell, and Prefect stops itself by it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    address = f"http://127.0.0.1:{port}/api"
    deadline = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=2)  # noqa: S310  our own server
            break
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"no Prefect server:\n{(home / 'server.log').read_text()}")
            time.sleep(0.5)
    yield address
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
    log.close()


@pytest.fixture(scope="session")
def gradsieve(server: str) -> Command:
    """The command line as a subprocess, against the test server (a run then costs five seconds instead of fifteen)."""

    def command(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows", *arguments],
            cwd=cwd or Path.cwd(),
            env=_environment(PREFECT_API_URL=server, **variables),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    return command


@pytest.fixture(scope="session")
def cleaned(tmp_path_factory: pytest.TempPathFactory) -> Cleaned:
    """The main job as a user runs it: no server, no options but where to."""
    lake = tmp_path_factory.mktemp("main") / "lake"
    process = subprocess.run(
        [sys.executable, "-m", "flows", "clean", "--lake", str(lake)],
        env=_environment(PREFECT_HOME=str(lake.parent / "prefect")),
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return Cleaned(lake, process)
