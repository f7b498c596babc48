"""What a long stage says while it works: log lines by default, bars where a terminal has asked for them."""

from __future__ import annotations

import logging
import time
from typing import Protocol

LOGGER = logging.getLogger("gradsieve")
_EVERY_SECONDS = 10.0


class Display(Protocol):
    """Where progress is shown."""

    def start(self, label: str, total: int) -> int: ...
    def advance(self, job: int, done: int, note: str) -> None: ...
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
        return self

    def __exit__(self, *_: object) -> None:
        if _display is not None and self._job >= 0:
            _display.finish(self._job)

    def step(self, note: str = "") -> None:
        """One more step done; ``note`` is the figure worth seeing."""
        self.done += 1
        if _display is not None and self._job >= 0:
            _display.advance(self._job, self.done, note)
        elif time.monotonic() - self._spoke >= _EVERY_SECONDS:
            self._spoke = time.monotonic()
            LOGGER.info("%s: %d of %d %s", self.label, self.done, self.total, note)
