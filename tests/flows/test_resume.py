"""A kill -9 at any moment of the extraction loses at most the shards in hand; the next run writes the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tasks.pipeline.durable_files import sha256_of

if TYPE_CHECKING:
    from conftest import Nursery

Finished = subprocess.CompletedProcess[str]
# Of the whole flow, with Prefect's store of results; hundreds of others: tests/benchmarks/torture.
KILLS = 4
OPTIONS = (
    "--reader.kind=digits", "--reader.limit=450", "--ingestion.shard-rows=16", "--folds=2", "--training.epochs=1",
    "--gradient.kind=functional", "--gradient.batch-size=16", "--detectors=l2", "--verification.seeds=1",
)  # fmt: skip
# In a process of the nursery: a life then begins at once. Which one it is must be known, to be killed.
LIFE = """
import os
from pathlib import Path
from flows.__main__ import main
Path({place!r}).write_text(str(os.getpid()))
if code := main({arguments!r}):
    os._exit(code)
"""


@dataclass(frozen=True)
class Lake:
    """What runs leave there, and what they say."""

    home: Path
    nursery: Nursery
    server: str
    lives: Executor

    def start(self) -> tuple[int, Future[Finished]]:
        """Begin a run; its process, and its end."""
        place = Path(f"{self.home}.process")
        place.unlink(missing_ok=True)
        script = LIFE.format(place=str(place), arguments=["clean", "--lake", str(self.home), *OPTIONS])
        ended = self.lives.submit(self.nursery.script, script, None, PREFECT_API_URL=self.server)
        deadline = time.monotonic() + 120
        while not (place.exists() and place.read_text()):
            assert not ended.done(), ended.result().stderr
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return int(place.read_text()), ended

    def shards(self) -> set[str]:
        return {path.name for path in (self.home / "cache").glob("gradients-*")}

    def in_hand(self) -> set[Path]:
        return set((self.home / "cache").glob(".partial-*/gradients"))


@pytest.fixture
def lake(nursery, server, tmp_path):
    """A lake by its name."""
    with ThreadPoolExecutor(1) as lives:
        yield lambda name: Lake(tmp_path / name, nursery, server, lives)


def test_four_kills_at_random_moments_lose_no_finished_shard_and_change_no_byte(lake):
    moments = random.Random(0)
    broken = lake("broken")
    torn = 0
    for kill in range(KILLS):
        before, left = broken.shards(), broken.in_hand()
        child, ended = broken.start()
        deadline = time.monotonic() + 120
        # Every other blow falls as soon as a shard is in hand, so that some surely tear one; the others once one is
        # finished, so that there surely are some.
        at_once = kill % 2 == 0
        while not (broken.in_hand() - left if at_once else broken.shards() - before):
            assert not ended.done(), ended.result().stderr
            assert time.monotonic() < deadline
            # Less than a shard takes, and not without a pause: whoever looks takes the processor from whom he looks at.
            time.sleep(0.003)
        if not at_once:
            time.sleep(moments.uniform(0.0, 0.2))
        os.kill(child, signal.SIGKILL)
        assert ended.result(60).returncode == -signal.SIGKILL, "the run was over before it was killed"
        torn += bool(broken.in_hand() - left)
        assert before <= broken.shards()
    assert torn > 0, "no kill struck while a shard was being written"
    finished = broken.shards()
    kept = {name: (broken.home / "cache" / name / "manifest.json").stat().st_mtime_ns for name in finished}
    done = broken.start()[1].result(240)
    assert done.returncode == 0, done.stderr
    assert len(broken.shards()) > len(finished) > 0
    assert not broken.in_hand()
    for name, written in kept.items():
        assert (broken.home / "cache" / name / "manifest.json").stat().st_mtime_ns == written
    whole = lake("whole")
    done = whole.start()[1].result(240)
    assert done.returncode == 0, done.stderr
    assert len(whole.shards()) == len(broken.shards())  # its own, computed anew
    files = [
        {path.name: sha256_of(path) for path in (home / "runs").glob("*/gradients/*")}
        for home in (broken.home, whole.home)
    ]
    assert files[0] == files[1]
    assert len(files[0]) > 35
