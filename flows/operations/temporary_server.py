"""A Prefect server for the time of one run, as Prefect itself starts one where none is named, but sooner and lighter.

    python -m flows.operations.temporary_server     DESCRIPTOR: a listening socket; the run at standard input

Prefect's own client imports the whole server to start one (two seconds of every run), and starts it only when the flow
does; here the server comes up while the run imports PyTorch. It ends when standard input does, and so also with a run
that is killed. Its database is Prefect's own of this user, its services are those of Prefect's temporary server without
what reacts to events: a run of its own has no automations.
"""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

from flows.imports import imports

__all__ = ["TemporaryServer"]

_HOST = "127.0.0.1"
_POLL_SECONDS, _STOP_SECONDS = 0.1, 5
# The exit code of uvicorn's own command, and the line that it logs below the error itself.
_NOT_STARTED, _FAREWELL = 3, "Application startup failed. Exiting."
# As Prefect sets them for its own.
_ENVIRONMENT = {
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "0",
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
        with listener:
            # -P: whatever lies where the command is given shadows neither our modules nor a library's.
            self._process = subprocess.Popen(  # noqa: S603  our own module
                [sys.executable, "-P", "-m", "flows.operations.temporary_server", str(listener.fileno())],
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[listener.fileno()],
                env={**_without_address(), **_ENVIRONMENT, "PYTHONPATH": _paths()},
                # An interrupt is for the run: the server is told how the run ended, and ends after it.
                start_new_session=True,
            )
        self._words = threading.Thread(target=self._pass_on, daemon=True)
        self._words.start()

    def _pass_on(self) -> None:
        assert self._process.stderr is not None  # noqa: S101  it is a pipe
        with self._process.stderr as words:
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
        assert self._process.stdin is not None  # noqa: S101  it is a pipe
        self._process.stdin.close()
        try:
            self._process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _without_address() -> dict[str, str]:
    """The environment, but for the server that it may name: of one that has gone, when a run is begun again."""
    return {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}


def _paths() -> str:
    """PYTHONPATH by which the child finds this module, as this process does."""
    home = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join([home, *filter(None, [os.environ.get("PYTHONPATH")])])


def main(descriptor: int) -> None:
    """Serve on a listening socket until standard input ends."""
    with imports():
        import uvicorn
        from prefect.server.api.server import create_app

        app = create_app()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="on"))

    def watch() -> None:
        # Not sys.stdin: a thread that holds its lock when Python ends makes it abort.
        while os.read(0, 1):
            pass
        server.should_exit = True

    threading.Thread(target=watch, daemon=True).start()
    server.run(sockets=[socket.socket(fileno=descriptor)])
    if not server.started:
        sys.exit(_NOT_STARTED)


if __name__ == "__main__":
    main(int(sys.argv[1]))
