"""A Prefect server, its workers and our deployments on one machine: started together, watched, and stopped together."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.errors import BadArtefact, BadConfig

POOL = "gradsieve"
ROOT = Path(__file__).resolve().parents[1]
# A new database takes a dozen seconds to be made.
_PATIENCE_SECONDS = 120
# A worker ends its own runs first; a server has nothing to wait for.
_STOP_SECONDS = 10


@dataclass
class Served:
    """What runs, and where it says what it does."""

    address: str
    home: Path
    environment: dict[str, str]
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, *command: str) -> None:
        """Begin a child, whose output goes to ``<home>/<name>.log``."""
        with (self.home / f"{name}.log").open("ab") as log:
            self.children[name] = subprocess.Popen(  # noqa: S603  our own commands
                [sys.executable, "-m", "prefect", *command],
                cwd=ROOT,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Not the terminal's Ctrl-C, which we pass on in order; and SIGINT must not be ignored, as it is in
                # the background of a shell: Prefect stops itself by it.
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def prefect(self, *command: str) -> None:
        """Run a command of Prefect's to its end."""
        self.module("prefect", *command)

    def module(self, *command: str) -> None:
        """Run a module to its end, as one that asks this server.

        Raises:
            BadArtefact: it fails.
        """
        done = subprocess.run(  # noqa: S603  our own commands
            [sys.executable, "-m", *command],
            cwd=ROOT, env=os.environ | self.environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        if done.returncode:
            raise BadArtefact(
                where=" ".join(command[:4]),
                expected="success",
                got=" ".join((done.stderr or done.stdout).split())[-500:],
                do=f"See {self.home}/server.log.",
            )

    def answers(self) -> bool:
        """Whether the server does."""
        try:
            with urllib.request.urlopen(f"{self.address}/api/health", timeout=2):  # noqa: S310  our own server
                return True
        except (urllib.error.URLError, OSError):
            return False

    def ended(self) -> str | None:
        """The name of a child that is over, though it should not be."""
        return next((name for name, child in self.children.items() if child.poll() is not None), None)

    def stop(self) -> None:
        """Workers first, then the server; who does not go by itself is made to."""
        for name in sorted(self.children, reverse=True):
            child = self.children[name]
            for number in (signal.SIGTERM, signal.SIGKILL):
                if child.poll() is None:
                    child.send_signal(number)
                    try:
                        child.wait(_STOP_SECONDS)
                    except subprocess.TimeoutExpired:
                        continue


def settings(lake: Path, host: str, port: int, database: str | None) -> dict[str, str]:
    """Environment variables of the server, of workers, and of the runs they start."""
    home = lake / ".prefect"
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  to be told apart from an address
    found = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_HOST": host,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_API_URL": f"http://{shown}:{port}/api",
        # The UI asks whom it came from, whatever name that has in the browser.
        "PREFECT_SERVER_UI_API_URL": "/api",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        "GRADSIEVE_LAKE": str(lake),
    }
    if database:
        found["PREFECT_API_DATABASE_CONNECTION_URL"] = database
    if password := os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        found["PREFECT_API_AUTH_STRING"] = password
    return found


@contextmanager
def served(lake: Path, host: str, port: int, workers: int, database: str | None) -> Iterator[Served]:
    """Start all of it and deploy; stop all of it at the end.

    Raises:
        BadConfig: the lake is served already, the port is taken, or several workers would share SQLite.
        BadArtefact: a child does not start.
    """
    home = lake / ".prefect"
    home.mkdir(parents=True, exist_ok=True)
    check(host, port, workers, database)
    lock = FileLock(home / "serve.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BadConfig(
            where=f"lake {lake}", expected="one gradsieve serve", got="another at work", do="Stop that one first."
        ) from error
    environment = settings(lake, host, port, database)
    running = Served(environment["PREFECT_API_URL"].removesuffix("/api"), home, environment)
    try:
        running.start("server", "server", "start")
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not running.answers():
            if running.ended() or time.monotonic() > deadline:
                raise BadArtefact(
                    where="the Prefect server",
                    expected=f"an answer within {_PATIENCE_SECONDS} seconds",
                    got=_tail(home / "server.log"),
                    do=f"See {home}/server.log.",
                )
            time.sleep(0.3)
        running.prefect("--no-prompt", "work-pool", "create", POOL, "--type", "process", "--overwrite")
        running.prefect("--no-prompt", "deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
        if os.environ.get("GRADSIEVE_WEBHOOK"):
            running.module("tasks.notices")
        for number in range(1, workers + 1):
            running.start(f"worker-{number}", "worker", "start", "--pool", POOL, "--type", "process")
        yield running
    finally:
        running.stop()
        lock.release()


def check(host: str, port: int, workers: int, database: str | None) -> None:
    """Refuse what would hang or lie open."""
    if workers > 1 and not (database or "").startswith("postgresql"):
        raise BadConfig(
            where="option workers",
            expected="1 with SQLite, which several workers lock each other out of",
            got=str(workers),
            do="Name a database: --database postgresql+asyncpg://user@host/name, the password in PGPASSWORD.",
        )
    if host not in ("127.0.0.1", "localhost", "::1") and not os.environ.get("PREFECT_SERVER_API_AUTH_STRING"):
        raise BadConfig(
            where=f"option host {host}",
            expected="a password where others can reach the API, for it runs what it is told",
            got="none in PREFECT_SERVER_API_AUTH_STRING",
            do="Set it to user:password, or stay on 127.0.0.1.",
        )
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise BadConfig(
                where=f"option port {port}", expected="a free one", got=str(error.strerror), do="Name another."
            ) from error


def _tail(path: Path) -> str:
    return " ".join(path.read_text(errors="replace").split())[-400:]
