"""A Prefect server for the time of one run, as Prefect itself starts one where none is named, but sooner and lighter.

    python -m flows.operations.temporary_server     DESCRIPTOR: a listening socket; the run at standard input

Prefect's own client imports the whole server to start one (two seconds of every run), and starts it only when the flow
does; here the server comes up while the run imports PyTorch. It ends when standard input does, and so also with a run
that is killed. Its database is Prefect's own of this user, its services are those of Prefect's temporary server without
what reacts to events: a run of its own has no automations.

On Linux it is a fork of the run, which has imported by then a good part of what a server imports: Prefect's settings
and schemas, pydantic, httpx. A fork has no thread but the one that made it, so that it is made where Python has no
other; those of numpy's and Arrow's pools it never asks for anything.
"""

from __future__ import annotations

import http.client
import multiprocessing
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

from flows.imports import imports

__all__ = ["TemporaryServer"]

_HOST = "127.0.0.1"
_POLL_SECONDS, _STOP_SECONDS = 0.1, 5
# The exit code of uvicorn's own command, and the line that it logs below the error itself.
_NOT_STARTED, _FAREWELL = 3, "Application startup failed. Exiting."
_ADDRESS = "PREFECT_API_URL"  # of a server that has gone, where a run is begun again
# As Prefect sets them for its own.
_ENVIRONMENT = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "0",
}
# What is dearer for a run of a minute than for a server that stays; whatever the environment says already, stands.
_SETTINGS = {
    # Task runs and events are written some at a time, after five seconds at most and when it ends, not each by itself.
    "PREFECT_SERVER_SERVICES_TASK_RUN_RECORDER_BATCH_SIZE": "50",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_BATCH_SIZE": "50",
    # Types of blocks are told to the UI by servers that have one. To know of them each collection is imported: Dask.
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "0",
    "PREFECT_MEMOIZE_BLOCK_AUTO_REGISTRATION": "0",
    # Functions of a library that keeps results in Redis, which are checked one by one as they are imported.
    "PY_KEY_VALUE_DISABLE_BEARTYPE": "1",
}


class TemporaryServer:
    """Begins to come up when it is made, with this process's environment; to be stopped."""

    def __init__(self) -> None:
        listener = socket.create_server((_HOST, 0))
        self.address = f"http://{_HOST}:{listener.getsockname()[1]}"
        self.answers = False
        """Whether it has answered."""
        self.last_line = ""
        """The last line of substance that it wrote to standard error; every line is passed on."""
        pipe, alive = os.pipe()
        stderr, words = os.pipe()
        self._alive, self._stderr = os.fdopen(alive, "wb"), os.fdopen(stderr, "rb")
        with listener, os.fdopen(pipe), os.fdopen(words):
            if _may_fork(min(listener.fileno(), pipe, words)):
                self._process = _Fork(listener.fileno(), pipe, words, ours=(alive, stderr))
            else:
                self._process = _spawn(listener.fileno(), pipe, words)
        self._words = threading.Thread(target=self._pass_on, daemon=True)
        self._words.start()

    def _pass_on(self) -> None:
        with self._stderr as words:
            for line in words:
                text = line.decode(errors="replace")
                if text.strip() and _FAREWELL not in text:
                    self.last_line = text.strip()
                print(text, end="", file=sys.stderr)

    @property
    def exit_code(self) -> int | None:
        """That of its process, once it has ended; what it wrote is known by then."""
        code = self._process.poll()
        if code is not None:
            self._words.join(_STOP_SECONDS)
        return code

    @property
    def api_url(self) -> str:
        """What PREFECT_API_URL is to be."""
        return f"{self.address}/api"

    def wait(self, seconds: float) -> bool:
        """Whether it answers within so many seconds; not where its process has ended, which is found at once."""
        until = time.monotonic() + seconds
        while self._process.poll() is None and time.monotonic() < until:
            self.answers = self._ask(until - time.monotonic())
            if self.answers:
                return True
            time.sleep(_POLL_SECONDS)
        return False

    def _ask(self, seconds: float) -> bool:
        connection = http.client.HTTPConnection(self.address.removeprefix("http://"), timeout=max(seconds, 0.001))
        try:
            connection.request("GET", "/api/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """End it, by force where it does not within some seconds."""
        self._alive.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _may_fork(lowest: int) -> bool:
    """Whether a fork can be made, waited for and spoken to; ``lowest`` is the first of the descriptors it is given."""
    return (
        sys.platform == "linux"
        and threading.active_count() == 1
        # Whoever ignores the end of children is told of none.
        and signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL
        # A daemonic process may have no children.
        and not multiprocessing.current_process().daemon
        # Where a standard stream is closed, a descriptor has its number, and would be lost to it.
        and sys.stderr is not None
        and lowest > 2
    )


def _spawn(listener: int, pipe: int, words: int) -> subprocess.Popen:
    """A server in a Python of its own."""
    # PYTHONPATH by which it finds this module, as this process does.
    home = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {name: value for name, value in os.environ.items() if name != _ADDRESS}
    # -P: whatever lies where the command is given shadows neither our modules nor a library's.
    return subprocess.Popen(  # noqa: S603  our own module
        [sys.executable, "-P", "-m", "flows.operations.temporary_server", str(listener)],
        stdin=pipe,
        stderr=words,
        pass_fds=[listener],
        env={**_SETTINGS, **environment, **_ENVIRONMENT, "PYTHONPATH": paths},
        # An interrupt is for the run: the server is told how the run ended, and ends after it.
        start_new_session=True,
    )


class _Fork:
    """A server forked from this process, asked as a ``Popen`` is."""

    def __init__(self, listener: int, pipe: int, words: int, *, ours: tuple[int, ...]) -> None:
        sys.stderr.flush()
        arguments = (listener, pipe, words, ours)
        self._process = multiprocessing.get_context("fork").Process(target=_be_server, args=arguments, daemon=True)
        with warnings.catch_warnings():
            # Python counts the threads of numpy's and Arrow's pools.
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            self._process.start()

    def poll(self) -> int | None:
        """Its exit code, once it has ended."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> None:
        """Wait for its end.

        Raises:
            TimeoutExpired: it has not come within so many seconds.
        """
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("the temporary server", timeout or 0)

    def kill(self) -> None:
        """End it by force."""
        self._process.kill()


def _be_server(listener: int, pipe: int, words: int, others: tuple[int, ...]) -> None:
    """What a fork does: see ``_spawn`` for why."""
    os.setsid()
    for descriptor in others:
        os.close(descriptor)
    os.dup2(words, 2)
    sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115  until it ends
    random.seed()
    # As by -P: but for what PYTHONPATH names, nothing of where the command is given.
    home = str(Path(__file__).resolve().parents[2])
    named = {str(Path(path).absolute()) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}
    here = {"", _folder()} - named
    sys.path[:] = [home, *(path for path in sys.path if path not in here | {home})]
    os.environ.pop(_ADDRESS, None)
    os.environ |= {**_SETTINGS, **os.environ, **_ENVIRONMENT}
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()
    main(listener, pipe)


def _folder() -> str:
    try:
        return os.getcwd()  # noqa: PTH109  as Python writes it down in sys.path
    except FileNotFoundError:  # it is gone
        return ""


def main(listener: int, pipe: int) -> None:
    """Serve on a listening socket until nobody holds the other end of a pipe."""
    with imports():
        import uvicorn
        from prefect.server.api.server import create_app

        app = create_app()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))

    def watch() -> None:
        # Not sys.stdin: a thread that holds its lock when Python ends makes it abort.
        while os.read(pipe, 1):
            pass
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=listener)])
    if not server.started:
        sys.exit(_NOT_STARTED)


if __name__ == "__main__":
    main(int(sys.argv[1]), 0)
