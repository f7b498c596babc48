"""Runs of one dataset in a lake go one after another, whoever starts them: two at once would do the same work twice.

By a lock on a file and not by Prefect's limits: theirs end with a lease, which a pause takes away and the run's process
goes on to renew, until that fails and ends the run. The system takes a lock from whoever dies.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType

from filelock import FileLock, Timeout

from tasks.core.progress import LOGGER, check
from tasks.pipeline.artefacts import Run

_LOOK_AGAIN_SECONDS = 0.5


class DatasetLock:
    """A run's turn at its dataset: ``with DatasetLock(run, dataset) as lock``.

    Args:
        run: whose lake, and who waits.
        dataset: of which one run at a time works.
    """

    def __init__(self, run: Run, dataset: str) -> None:
        folder = run.lake / "locks"
        folder.mkdir(exist_ok=True)
        self.run, self.dataset = run, dataset
        self._lock = FileLock(folder / f"{dataset}.lock", timeout=0)

    def __enter__(self) -> DatasetLock:
        """Wait until nobody else works on the dataset."""
        has_logged = False
        while True:
            check()
            try:
                self._lock.acquire()
            except Timeout:
                if not has_logged:
                    LOGGER.info("%s waits for its turn: another run of %s is at work", self.run.run_id, self.dataset)
                has_logged = True
                time.sleep(_LOOK_AGAIN_SECONDS)
                continue
            return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """It is somebody else's turn."""
        self._lock.release()

    @contextmanager
    def given_up(self) -> Iterator[None]:
        """Let others work meanwhile: a person is waited for. Then wait for the next turn."""
        self._lock.release()
        try:
            yield
        finally:
            self.__enter__()
