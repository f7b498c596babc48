"""The Prefect server that a run in this process tells its states to: the one that is named, or one of its own.

Prefect starts a temporary server by itself where none is named, and says nothing while it waits for it; where it does
not come up, or goes away in mid-run, all that is to be read is ``All connection attempts failed``. This module says
what is waited for, tries once more, and says in words what failed. To be imported after ``prepare_prefect``.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import get_current_settings

from flows.command_line.foreground import say
from tasks.core.errors import GradsieveError

_ATTEMPTS = 2
# What Prefect raises where its server does not answer, besides errors of httpx.
_WORDS = ("Timed out while attempting to connect to ephemeral", "Failed to reach API", "Ephemeral server process")


class NoServer(GradsieveError):
    """Prefect's server did not come up, or has gone."""


def with_server(run: Callable[[], str]) -> str:
    """What ``run`` returns, called when there is a server; once more where the server was lost.

    A run that is called again takes over what is finished: each stage is kept by what it depends on.

    Raises:
        NoServer: the server did not answer twice.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        try:
            _start_one_unless_named()
            return run()
        except (httpx.TransportError, RuntimeError) as error:
            if not _is_about_the_server(error):
                raise
            problem = NoServer(**_words(error))
            if attempt == _ATTEMPTS:
                raise problem from error
            say(f"{problem.where}: {problem.got}; once more")
            if not get_current_settings().api.url:
                SubprocessASGIServer().stop()
    raise AssertionError("unreachable")


def _start_one_unless_named() -> None:
    settings = get_current_settings()
    if settings.api.url or not settings.server.ephemeral.enabled:
        return
    server = SubprocessASGIServer()
    if not server.running:
        seconds = settings.server.ephemeral.startup_timeout_seconds
        say(f"starting a temporary Prefect server, for up to {seconds} s")
        server.start()


def _is_about_the_server(error: httpx.TransportError | RuntimeError) -> bool:
    if isinstance(error, RuntimeError):
        return any(words in str(error) for words in _WORDS)
    try:
        asked = error.request.url
    except RuntimeError:  # httpx raises it where the error belongs to no request
        return False
    own = get_current_settings().api.url or SubprocessASGIServer().api_url
    return str(asked).startswith(own.rstrip("/"))


def _words(error: Exception) -> dict[str, str]:
    """The parts of the error message."""
    settings = get_current_settings()
    if settings.api.url:
        return {
            "where": f"the Prefect server at {settings.api.url}",
            "expected": "an answer",
            "got": f"none ({error})",
            "do": "Start it again (gradsieve serve), or unset PREFECT_API_URL: the run then starts one of its own. "
            "What is finished is kept.",
        }
    seconds = settings.server.ephemeral.startup_timeout_seconds
    lost = isinstance(error, httpx.TransportError)
    return {
        "where": "the temporary Prefect server of this run",
        "expected": "an answer until the run ends" if lost else f"an answer within {seconds} s",
        "got": f"it has gone ({error})" if lost else "none; this machine may be busy",
        "do": "Run again: what is finished is kept. On a busy machine start gradsieve serve first, or raise "
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.",
    }
