"""What test files share: one Prefect server, one nursery, and one finished run of the main job on the embedded data."""

from __future__ import annotations

import os

# Two processes with two spinning threads each make two processors slower than one: before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Plugins of other libraries, of which Trio's alone is here, look for garbage: a tenth of what collecting took.
os.environ.setdefault("HYPOTHESIS_NO_PLUGINS", "1")

import atexit
import gc
import json
import shlex
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import IO, Any

import pytest
from environments import environment_of_a_command
from filelock import FileLock

# A hundred processes import the same files: whatever the shell says, the first of them compiles for all.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

Command = Callable[..., subprocess.CompletedProcess[str]]
REPOSITORY = Path(__file__).resolve().parents[1]
# How the files end that name what is started once for all workers: a process, and where it is asked.
PROCESS = ".process"


# Files that take a minute and more, the longest first: begun last, one of them would run when all else is done.
LONG = (
    "test_torture.py",
    "flows/test_operate.py", "flows/test_serve.py", "flows/test_browser.py", "flows/test_postgres.py",
    "flows/test_resume.py", "flows/test_runners.py", "flows/test_clean.py", "test_readme.py",
    "flows/test_main.py", "flows/test_secrets.py", "flows/test_review.py", "flows/test_gate.py",
    "flows/test_base.py", "flows/test_compare.py", "flows/test_dependence.py", "flows/test_incremental.py",
    "flows/test_prefect.py", "flows/test_search.py", "flows/test_canaries.py", "flows/test_maintain.py",
    "flows/test_trace.py", "flows/test_opinions.py", "flows/test_random_review.py", "test_one_file.py",
    "flows/test_deployments.py", "tasks/catalogue/test_catalogue.py", "tasks/evaluation/test_reproduce.py",
    "tasks/kernels/test_influence.py", "tasks/versions/test_versions.py", "tasks/versions/test_publication.py",
)  # fmt: skip


def pytest_xdist_auto_num_workers() -> int | None:
    """Three workers more than processors: who drives a server waits, and with two more an eighth of two lay idle."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else len(os.sched_getaffinity(0)) + 3


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Bring the long files to the front, in their order."""
    place = {REPOSITORY / "tests" / name: number for number, name in enumerate(LONG)}
    items.sort(key=lambda item: place.get(item.path, len(LONG)))


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Look for no garbage where modules are imported and next to nothing becomes any: a sixth of it was that."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Leave what was collected to itself: as it ends, pytest collects garbage five times."""
    gc.freeze()
    if hasattr(session.config, "workerinput"):
        # A worker has told all when it ends: taking three million objects apart is five seconds of a processor.
        atexit.register(os._exit, 0)
    else:
        # Libraries complain of what is still there when Python ends.
        atexit.register(gc.unfreeze)


@dataclass(frozen=True)
class Cleaned:
    """A finished ``gradsieve clean``."""

    lake: Path
    process: subprocess.CompletedProcess[str]

    @property
    def run_folder(self) -> Path:
        """Its run."""
        return next((self.lake / "runs").glob("digits-*"))


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
        # The first of its dataset would be a trial.
        "--promotion=gate",
    ]


@pytest.fixture(scope="session")
def of_all(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """The folder that all workers share."""
    home = tmp_path_factory.getbasetemp()
    return home if worker_id == "master" else home.parent


@pytest.fixture(scope="session")
def empty_database(of_all: Path) -> Path:
    """SQLite of a Prefect server that has run nothing, to be copied: its tables take four seconds to be made.

    The first server of a session makes it; until then it is not there.
    """
    return of_all / "prefect.db"


@pytest.fixture(scope="session")
def server(of_all: Path, empty_database: Path) -> str:
    """The API address of the Prefect server of all workers, with a database of its own.

    Its first run makes the database; a copy is laid aside before it is told anything.
    """

    def start() -> tuple[str, int]:
        home = of_all / "prefect"
        home.mkdir(exist_ok=True)
        address, process = _start_server(home)
        part = empty_database.with_suffix(".part")
        with closing(sqlite3.connect(home / "prefect.db")) as ours, closing(sqlite3.connect(part)) as copy:
            ours.backup(copy)
        part.rename(empty_database)
        return address, process

    return _started_once(of_all / "server", start)


def _started_once(place: Path, start: Callable[[], tuple[str, int]]) -> str:
    """The address of what is started by the first worker that needs it, and stopped when all workers are done."""
    noted = place.with_suffix(PROCESS)
    with FileLock(place.with_suffix(".lock")):
        if not noted.exists():
            address, process = start()
            noted.write_text(f"{process} {address}")
    return noted.read_text().partition(" ")[2]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Stop what was started once for all workers, when the last of them is done."""
    if hasattr(session.config, "workerinput"):
        return
    # The folder of all workers; its fixture is none that a hook could ask for.
    for noted in session.config._tmp_path_factory.getbasetemp().glob(f"*{PROCESS}"):  # type: ignore[attr-defined]
        process, _, place = noted.read_text().partition(" ")
        _stop(int(process))
        if noted.stem == "nursery":
            shutil.rmtree(place)


def _stop(group: int) -> None:
    """End the processes of a group, at first with a word of warning."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with suppress(ChildProcessError):
                os.waitpid(-group, os.WNOHANG)
            os.killpg(group, 0)
            time.sleep(0.05)
        os.killpg(group, signal.SIGKILL)


def _start_server(home: Path) -> tuple[str, int]:
    """(address of a Prefect server that answers, its process)."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # The scheduler looks every five seconds instead of every minute, so that its test need not wait.
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",
        # It has no worker and no automation: what looks after those only takes time, all the while it runs.
        "PREFECT_SERVER_SERVICES_FOREMAN_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_ENABLED": "false",
        "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",
        # Nobody asks it for task runs; to write down those of a cleaning takes half a second.
        "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_ENABLED": "false",
        # Each statement that writes events down is compiled anew.
        "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "200",
    }
    log = (home / "server.log").open("w")
    process = subprocess.Popen(
        # As it is served: all workers write into its one file at once.
        [sys.executable, "-m", "flows.operations.prefect_server"],
        env=environment_of_a_command(**settings),
        stdout=log,
        stderr=log,
        # Not ended with the worker that starts it, nor by Ctrl-C before the runs that tell it how they end.
        start_new_session=True,
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
    log.close()
    return address, process.pid


class Nursery:
    """A process that has everything imported and forks a child for each command: see ``nursery.py``."""

    def __init__(self, home: Path) -> None:
        self.home, self.variables = home, environment_of_a_command()

    @staticmethod
    def start(home: Path) -> int:
        """Begin one that listens in a folder; its process."""
        process = subprocess.Popen(
            [sys.executable, str(REPOSITORY / "tests" / "nursery.py"), str(home)],
            env=environment_of_a_command(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process.pid

    def run(
        self, arguments: tuple[str, ...], cwd: Path | None, folder: Path | None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        """As ``subprocess.run`` would: in ``cwd`` with the code that is there, in ``folder`` with the repository's."""
        return self._ask({"arguments": arguments}, cwd, folder, more)

    def module(self, name: str, *arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
        """``python -m name``, which is Prefect, in a folder."""
        return self._ask({"module": name, "arguments": arguments}, None, folder, more)

    def script(self, text: str, cwd: Path | None, **more: str) -> subprocess.CompletedProcess[str]:
        """``python -c text``: in a folder by a process that has none of our code imported, in none by one that has."""
        return self._ask({"script": text}, cwd, None, more)

    def killed(self, arguments: tuple[str, ...], until: Callable[[], bool], folder: Path, **more: str) -> int:
        """Kill a command, with SIGKILL, as soon as ``until`` is true of what it has done so far; its exit code."""
        with (
            TemporaryFile() as out,
            self._begun({"arguments": arguments}, None, folder, more, (out, out)) as connection,
        ):
            deadline = time.monotonic() + 120
            while not until() and time.monotonic() < deadline:
                time.sleep(0.02)
            # Who waits no more is followed by the command.
            connection.shutdown(socket.SHUT_WR)
            return int(connection.recv(16))

    def _ask(
        self, what: dict[str, Any], cwd: Path | None, folder: Path | None, more: dict[str, str]
    ) -> subprocess.CompletedProcess[str]:
        with TemporaryFile() as out, TemporaryFile() as errors:
            with self._begun(what, cwd, folder, more, (out, errors)) as connection:
                code = int(connection.recv(16))
            said = []
            for stream in (out, errors):
                stream.seek(0)
                said.append(stream.read().decode())
        return subprocess.CompletedProcess([*map(str, what.values())], code, *said)

    @contextmanager
    def _begun(
        self, what: dict[str, Any], cwd: Path | None, folder: Path | None, more: dict[str, str], streams: tuple[IO, IO]
    ) -> Iterator[socket.socket]:
        """The connection to a command that has begun, at which its exit code comes."""
        place = str(cwd or folder or Path.cwd())
        asked = what | {"folder": place, "environment": self.variables | more}
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(280)
            connection.connect(str(self.home / ("other" if cwd else "ours")))
            line = json.dumps(asked).encode() + b"\n"
            sent = socket.send_fds(connection, [line], [stream.fileno() for stream in streams])
            connection.sendall(line[sent:])
            yield connection

    def command_of_runs(self) -> str:
        """What a worker is to start for each of its runs, so that it comes from here."""
        call = str(REPOSITORY / "tests" / "nursery_call.py")
        return shlex.join([sys.executable, "-S", call, str(self.home), "flows.operations.run_engine"])


@pytest.fixture(scope="session")
def nursery(of_all: Path) -> Nursery:
    """Where the processes of all workers come from that have everything imported."""

    def start() -> tuple[str, int]:
        # The name of a socket is short; that of a test's folder may not be.
        home = mkdtemp(prefix="gradsieve-")
        return home, Nursery.start(Path(home))

    return Nursery(Path(_started_once(of_all / "nursery", start)))


@pytest.fixture(scope="session")
def gradsieve(nursery: Nursery, server: str) -> Command:
    """The command line in a process of its own, against the test server (a run then costs two seconds, not fifteen)."""

    def command(
        *arguments: str, cwd: Path | None = None, folder: Path | None = None, **more: str
    ) -> subprocess.CompletedProcess[str]:
        return nursery.run(arguments, cwd, folder, **({"PREFECT_API_URL": server} | more))

    return command


@pytest.fixture(scope="session")
def finished_once(of_all: Path) -> Callable[..., Cleaned]:
    """Give a finished run to all workers, done by whichever is first: ``finished_once(name, run)``.

    ``run`` is given the lake. Who would change the lake copies it.
    """

    def finished(name: str, run: Callable[[Path], subprocess.CompletedProcess[str]]) -> Cleaned:
        home = of_all / name
        home.mkdir(exist_ok=True)
        lake, said = home / "lake", home / "said.json"
        with FileLock(home / "lock"):
            if not said.exists():
                process = run(lake)
                assert process.returncode == 0, process.stderr
                said.write_text(json.dumps([process.args, process.returncode, process.stdout, process.stderr]))
        return Cleaned(lake, subprocess.CompletedProcess(*json.loads(said.read_text())))

    return finished


@pytest.fixture(scope="session")
def cleaned(finished_once: Callable[..., Cleaned]) -> Cleaned:
    """The main job as a user runs it: no server, no options but where to."""

    def main_job(lake: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows", "clean", "--lake", str(lake)],
            env=environment_of_a_command(PREFECT_HOME=str(lake.parent / "prefect")),
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )

    return finished_once("main", main_job)


@pytest.fixture(scope="session")
def cleaned_small(finished_once: Callable[..., Cleaned], gradsieve: Command, small: list[str]) -> Cleaned:
    """A run with the options of ``small`` and no others."""
    return finished_once("small", lambda lake: gradsieve("clean", "--lake", str(lake), *small))
