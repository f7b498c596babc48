"""Progress bars for a terminal (rich)."""

from __future__ import annotations

import threading

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn


class Bars:
    """One bar for each job at work; a context manager that leaves nothing behind."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
        )
        self._bars = Progress(*columns, console=Console(stderr=True), transient=True)
        # Tasks report from their own threads, and a bar may finish while another is drawn.
        self._lock = threading.Lock()

    def __enter__(self) -> Bars:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def start(self, label: str, total: int) -> int:
        """A new bar."""
        with self._lock:
            return int(self._bars.add_task(label, total=total, note=""))

    def advance(self, job: int, steps: int, note: str) -> None:
        """Move a bar to ``done`` steps."""
        with self._lock:
            self._bars.update(TaskID(job), completed=steps, note=note)

    def finish(self, job: int) -> None:
        """Take a bar away."""
        with self._lock:
            self._bars.remove_task(TaskID(job))
