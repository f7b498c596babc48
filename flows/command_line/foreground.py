"""A flow run in this process, with somebody who watches it: Prefect's settings, progress, and a way to stop."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tasks.core import progress


def say(line: str) -> None:
    """A line of what is being waited for, as long stages say theirs."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def prepare_prefect(lake: Path, *, verbose: bool) -> None:
    """Settings for a run in this process; whatever the environment says already, stands. Before Prefect is imported."""
    settings = {
        "PREFECT_LOCAL_STORAGE_PATH": str(lake.expanduser().resolve() / "cache" / "results"),
        "PREFECT_LOGGING_EXTRA_LOGGERS": "gradsieve",
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        # Prefect imports every installed collection (dask, ray) before its temporary server answers.
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
        "DO_NOT_TRACK": "1",
    }
    if not verbose:
        settings |= {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL", "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL"}
    for name, value in settings.items():
        os.environ.setdefault(name, value)
    # The worker imports a custom model from where the command was given, as python -m does.
    # Last, so that a file of the user's shadows no library.
    sys.path.append(str(Path.cwd()))


@contextmanager
def foreground(*, verbose: bool) -> Iterator[None]:
    """Show progress, as bars on a terminal and as lines elsewhere, and stop at an interrupt."""

    def stop(_signal: int, _frame: Any) -> None:
        progress.stop()
        raise KeyboardInterrupt

    # A second signal is Python's own affair again.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    if sys.stderr.isatty() and not verbose:
        from flows.command_line.progress_bars import Bars

        with Bars() as bars:
            progress.show_on(bars)
            yield
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
        logging.getLogger("gradsieve").addHandler(handler)
        yield
