"""What a long stage says while it works: log lines by default, bars where a terminal has asked for them."""

from __future__ import annotations

import logging
import threading
import time
from typing import Protocol

LOGGER = logging.getLogger("gradsieve")
LOGGER.setLevel(logging.INFO)
_STOP = threading.Event()
_EVERY_SECONDS = 10.0


class StopRequest(Exception):
    """The run was asked to stop; what is finished is kept."""


def stop() -> None:
    """Ask every job of this process to stop at its next step: threads cannot be interrupted."""
    _STOP.set()


def go_on() -> None:
    """Take a request to stop back."""
    _STOP.clear()


def check() -> None:
    """Raise ``StopRequest`` if the run was asked to stop. Called once a batch."""
    if _STOP.is_set():
        raise StopRequest


class Display(Protocol):
    """Where progress is shown."""

    def start(self, label: str, total: int) -> int: ...
    def advance(self, job: int, steps: int, note: str) -> None: ...
    def finish(self, job: int) -> None: ...


_display: Display | None = None


def show_on(display: Display | None) -> None:
    """Show progress on ``display`` from now on; None returns to log lines."""
    global _display
    _display = display


class Progress:
    """Progress of one job, as a context manager.

    Args:
        label: what is being done.
        total: how many steps it takes.
    """

    def __init__(self, label: str, total: int) -> None:
        self.label, self.total, self.done = label, total, 0
        self._spoke = time.monotonic()
        self._job = -1

    def __enter__(self) -> Progress:
        if _display is not None:
            self._job = _display.start(self.label, self.total)
        else:
            LOGGER.info("%s", self.label)
        return self

    def __exit__(self, *_: object) -> None:
        if _display is not None and self._job >= 0:
            _display.finish(self._job)

    def step(self, note: str = "", steps: int = 1) -> None:
        """So many more steps done; ``note`` is the figure worth seeing."""
        self.done += steps
        if _display is not None and self._job >= 0:
            _display.advance(self._job, self.done, note)
        elif time.monotonic() - self._spoke >= _EVERY_SECONDS:
            self._spoke = time.monotonic()
            LOGGER.info("%s: %d of %d %s", self.label, self.done, self.total, note)
