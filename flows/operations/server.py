"""A Prefect server, its workers and our deployments on one machine: started together, watched, and stopped together."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from filelock import FileLock, Timeout

from flows.operations.listening import DATABASE, PASSWORD, check, free_port
from flows.operations.orphans import Orphanage
from flows.operations.peers import SETTINGS, Peers
from flows.operations.retention import server_variables, shrink
from flows.operations.server_api import ServerApi
from flows.operations.work_pool import POOL, make_pool
from tasks.core.errors import BadArtefact, BadConfig
from tasks.pipeline import page_link

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENTS = ROOT / "deployments" / "prefect.yaml"
# A new database takes a dozen seconds to be made.
_PATIENCE_SECONDS = 120
# A worker ends its own runs first; a server has nothing to wait for.
_STOP_SECONDS = 10


class StopRequest(Exception):
    """Somebody asked to stop while it was still starting."""


@dataclass
class Services:
    """What runs, and where it says what it does."""

    address: str
    home: Path
    environment: dict[str, str]
    stop_event: threading.Event
    peers: Peers | None = None
    """Who else starts runs from this database; None: nobody, for it lies in the lake."""
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    again: dict[str, Callable[[], None]] = field(default_factory=dict)
    """How those are begun that may end."""

    def start(self, name: str, *module: str) -> None:
        """Begin a module as a child, whose output goes to ``<home>/<name>.log``."""
        self.children[name] = self._begin(self.home / f"{name}.log", module)

    def start_server(self) -> None:
        """Begin the server, and wait for it."""
        self.again["server"] = self.start_server
        self.start("server", "flows.operations.prefect_server")
        self.until_it_answers()

    def start_worker(self, name: str) -> None:
        """Begin a worker. It brings no pool into being: a pool of another kind under this name is an error."""
        self.again[name] = lambda: self.start_worker(name)
        command = ["worker", "start", "--pool", POOL, "--type", "process", "--no-create-pool-if-not-found"]
        if self.peers is not None:
            self.peers.expect(name)
            command += ["--name", self.peers.worker_name(name)]
        self.start(name, "prefect", *command)

    def start_pages(self, lake: Path, host: str, port: int) -> None:
        """Begin to show the pages of the lake's runs."""
        self.again["pages"] = lambda: self.start_pages(lake, host, port)
        self.start("pages", "flows.operations.page_server", str(lake), host, str(port))

    def start_again(self, name: str) -> None:
        """Begin a child again that has ended."""
        self.again[name]()

    def prefect(self, *command: str) -> None:
        """Run a command of Prefect's to its end."""
        self.module("prefect", *command)

    def module(self, *command: str) -> None:
        """Run a module to its end, as one that asks this server.

        Raises:
            BadArtefact: it fails.
            StopRequest: by a signal.
        """
        log = self.home / "deploy.log"
        offset = log.stat().st_size if log.exists() else 0
        child = self.children["deploy"] = self._begin(log, command)
        while child.poll() is None:
            self._wait(0.1)
        del self.children["deploy"]
        if child.returncode:
            raise BadArtefact(
                where=" ".join(command[:4]),
                expected="success",
                got=" ".join(log.read_bytes()[offset:].decode(errors="replace").split())[-500:],
                do=f"See {self.home}/server.log.",
            )

    def _begin(self, log: Path, command: tuple[str, ...]) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            return subprocess.Popen(  # noqa: S603  our own commands
                [sys.executable, "-m", "flows.operations.child", str(os.getpid()), *command],
                cwd=ROOT,
                env=os.environ | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                # Not the terminal's Ctrl-C, which we pass on in order; and SIGINT must not be ignored, as it is in
                # the background of a shell: Prefect stops itself by it.
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )

    def _wait(self, seconds: float) -> None:
        if self.stop_event.wait(seconds):
            raise StopRequest

    @property
    def api(self) -> ServerApi:
        """Its own API."""
        return ServerApi(self.environment["PREFECT_API_URL"], self.environment.get("PREFECT_API_AUTH_STRING"))

    @property
    def orphanage(self) -> Orphanage:
        """Its runs, with a process and without."""
        return Orphanage(self.api, POOL, self.home, self.peers)

    def until_it_answers(self) -> None:
        """Wait for the server.

        Raises:
            BadArtefact: it ends, or takes too long.
            StopRequest: by a signal.
        """
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not self.api.answers():
            code = self.children["server"].poll()
            if code is not None or time.monotonic() > deadline:
                raise BadArtefact(
                    where="the Prefect server",
                    expected=f"an answer within {_PATIENCE_SECONDS} seconds",
                    got=("none, " if code is None else f"its end with exit code {code}, ")
                    + "having written "
                    + " ".join((self.home / "server.log").read_text(errors="replace").split())[-400:],
                    do=f"See {self.home}/server.log.",
                )
            self._wait(0.3)

    def make_pool(self) -> None:
        """Create the pool, or give the one that is there our template."""
        make_pool(self.api)

    def deploy(self, deployments: Path) -> None:
        """Create all deployments of a file."""
        self.prefect("--no-prompt", "deploy", "--all", "--prefect-file", str(deployments))

    def resume_later(self, settled: float = 0) -> bool:
        """See ``Orphanage.resume_later``; whether the server answers: one that does not is asked another time."""
        try:
            self.orphanage.resume_later(settled=settled)
        except httpx.HTTPError:
            return False
        return True

    def first_ended(self) -> str | None:
        """The name of a child that is over, though it should not be."""
        return next((name for name, child in self.children.items() if child.poll() is not None), None)

    def stop(self) -> None:
        """Workers first, then the server; who does not go by itself is made to."""
        busy_runs = self.orphanage.alive() if "worker-1" in self.children and self.api.answers() else set()
        names = sorted(self.children, reverse=True)
        _end([self.children[name] for name in names if name != "server"])
        if busy_runs and self.api.answers():
            self.orphanage.resume_later(busy_runs, stopped=True)
        _end([self.children[name] for name in names if name == "server"])


def _end(children: list[subprocess.Popen[bytes]]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        for child in children:
            if child.poll() is None:
                child.send_signal(number)
        deadline = time.monotonic() + _STOP_SECONDS
        for child in children:
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                continue


def settings(lake: Path, host: str, port: int, pages_port: int, database: str | None) -> dict[str, str]:
    """Environment variables of the server, of workers, and of the runs they start."""
    home = lake / ".prefect"
    client_host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104  to be told apart from an address
    pages = f"http://{f'[{client_host}]' if ':' in client_host else client_host}:{pages_port}"
    variables = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_HOST": host,
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_API_URL": f"http://{client_host}:{port}/api",
        # The UI asks whom it came from, whatever name that has in the browser.
        "PREFECT_SERVER_UI_API_URL": "/api",
        # Prefect's newer UI asks a host of its maker's each time it opens, and shows lists in a form as one paragraph.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        page_link.LAKE: str(lake),
        # Whoever knows by which name others reach it has named it.
        page_link.ADDRESS: os.environ.get(page_link.ADDRESS) or pages,
    }
    if database:
        variables[DATABASE[1]] = variables[DATABASE[0]] = database
    if password := os.environ.get(PASSWORD):
        variables["PREFECT_API_AUTH_STRING"] = password
    return variables


@contextmanager
def serve(
    lake: Path,
    host: str,
    port: int,
    pages_port: int | None,
    workers: int,
    database: str | None,
    keep_runs_days: float,
    deployments: Path,
    stop_event: threading.Event,
) -> Iterator[Services]:
    """Start all of it and deploy; stop all of it at the end.

    Args:
        lake: with the runs and, in ``.prefect``, what Prefect knows of them.
        host: address to listen on.
        port: port to listen on.
        pages_port: port to show the pages of runs on; None for the next, or where that is taken any.
        workers: how many.
        database: as SQLAlchemy writes it; None for SQLite in the lake, or for what Prefect's own setting names.
        keep_runs_days: how long Prefect keeps what it knows of a run that has ended.
        deployments: the file with them.
        stopped: set to stop while it starts.

    Raises:
        BadConfig: the lake is served already, the port is taken, or too many workers would share SQLite.
        BadArtefact: a child does not start.
        StopRequest: while it started.
    """
    database_url = database or next((os.environ[name] for name in DATABASE if os.environ.get(name)), None)
    check(host, port, pages_port, workers, database, database_url)
    pages_port = pages_port or free_port(host, port + 1)
    home = lake / ".prefect"
    home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(home / "serve.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise BadConfig(
            where=f"lake {lake}", expected="one gradsieve serve", got="another at work", do="Stop that one first."
        ) from error
    environment = settings(lake, host, port, pages_port, database) | server_variables(keep_runs_days)
    peers = None if database_url is None else Peers.of(home)
    environment |= {} if peers is None else SETTINGS
    services = Services(environment["PREFECT_API_URL"].removesuffix("/api"), home, environment, stop_event, peers)
    try:
        if peers is None:
            shrink(home / "prefect.db")
        services.start_pages(lake, host, pages_port)
        services.start_server()
        services.make_pool()
        # Where it is too busy now, runs are put in line as soon as somebody looks again.
        services.resume_later()
        # They begin while others make the deployments: either takes seconds.
        for number in range(1, workers + 1):
            services.start_worker(f"worker-{number}")
        services.deploy(deployments)
        if any(os.environ.get(name) for name in ("GRADSIEVE_WEBHOOK", "GRADSIEVE_NOTIFY")):
            services.module("flows.operations.automations")
        yield services
    finally:
        services.stop()
        lock.release()
