"""The Prefect server that a run in this process tells its states to: the one that is named, or one of its own.

Prefect starts a temporary server by itself where none is named, late and silently; where it does not come up, or goes
away in mid-run, all that is to be read is ``All connection attempts failed``. This module starts it while the flow is
imported, says what is waited for, tries once more, and says in words what failed. To be imported after
``prepare_prefect``.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable

import httpx
from prefect.context import refresh_global_settings_context
from prefect.settings import get_current_settings

from flows.command_line.foreground import say
from flows.operations.temporary_server import TemporaryServer
from tasks.core.errors import GradsieveError

_ATTEMPTS = 2
# What Prefect raises where its server does not answer, besides errors of httpx.
_WORDS = ("Timed out while attempting to connect to ephemeral", "Failed to reach API", "Ephemeral server process")


class NoServer(GradsieveError):
    """Prefect's server did not come up, or has gone."""


class ServerOfRun:
    """The server that is named, or a temporary one, which begins to come up when this is made."""

    def __init__(self) -> None:
        settings = get_current_settings()
        self._is_named = bool(settings.api.url) or not settings.server.ephemeral.enabled
        self._seconds = settings.server.ephemeral.startup_timeout_seconds
        self._temporary: TemporaryServer | None = None
        self._begin()

    def _begin(self) -> None:
        if not self._is_named:
            self._temporary = TemporaryServer()
            # Made before Prefect's own, it is called after them: the last states and logs are sent by then.
            atexit.register(self._temporary.stop)

    def call(self, run: Callable[[], str]) -> str:
        """What ``run`` returns, called when there is a server; once more where the server was lost.

        A run that is called again takes over what is finished: each stage is kept by what it depends on.

        Raises:
            NoServer: the server did not answer twice.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                self._wait()
                return run()
            except (httpx.TransportError, RuntimeError, NoServer) as error:
                if not isinstance(error, NoServer) and not self._is_the_reason(error):
                    raise
                problem = error if isinstance(error, NoServer) else NoServer(**self._words(error))
                if attempt == _ATTEMPTS:
                    raise problem from error
                say(f"{problem.where}: {problem.got}; once more")
                if self._temporary is not None:
                    self._temporary.stop()
                self._begin()
        raise AssertionError("unreachable")

    def _wait(self) -> None:
        """Wait for the temporary server and name it to Prefect, here and in worker processes."""
        if self._temporary is None:
            return
        if not self._temporary.answers:
            say(f"waiting for a temporary Prefect server, for up to {self._seconds} s")
        if not self._temporary.wait(self._seconds):
            raise NoServer(**self._words(None))
        # It shows no page of its runs: without an address of its UI nobody is sent to one.
        os.environ |= {"PREFECT_API_URL": self._temporary.api_url, "PREFECT_UI_URL": ""}
        refresh_global_settings_context()

    def _is_the_reason(self, error: httpx.TransportError | RuntimeError) -> bool:
        if isinstance(error, RuntimeError):
            return any(words in str(error) for words in _WORDS)
        try:
            asked = error.request.url
        except RuntimeError:  # httpx raises it where the error belongs to no request
            return False
        return str(asked).startswith((get_current_settings().api.url or "no server").rstrip("/"))

    def _words(self, error: Exception | None) -> dict[str, str]:
        """The parts of the error message."""
        if self._temporary is None:
            return {
                "where": f"the Prefect server at {get_current_settings().api.url}",
                "expected": "an answer",
                "got": f"none ({error})",
                "do": "Start it again (gradsieve serve), or unset PREFECT_API_URL: the run then starts one of its own. "
                "What is finished is kept.",
            }
        where = "the temporary Prefect server of this run"
        if error is None and (code := self._temporary.exit_code) is not None:
            return {"where": where} | _words_of_an_end(code, self._temporary.last_line)
        return {
            "where": where,
            "expected": "an answer until the run ends" if error else f"an answer within {self._seconds} s",
            "got": f"it has gone ({error})" if error else "none; this machine may be busy",
            "do": "Run again: what is finished is kept. On a busy machine start gradsieve serve first, or raise "
            "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.",
        }


def _words_of_an_end(code: int, last_line: str) -> dict[str, str]:
    """The parts of the message about a server that ended before it answered: a busy machine has no part in it."""
    home = get_current_settings().home
    return {
        "expected": "an answer",
        "got": f"its end with exit code {code}" + (f": {last_line}" if last_line else ""),
        "do": f"Its own words stand above. Its database lies in {home} (PREFECT_HOME): one that a newer Prefect opened "
        "is not read by an older one. Install the newer one, or set PREFECT_HOME to a folder for this one. What is "
        "finished is kept.",
    }
