"""A kill -9 at any moment of the extraction loses at most the shards in hand; the next run writes the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tasks.pipeline.durable_files import sha256_of

KILLS = 20
# A process that has everything imported and forks one child for each run: a life then begins at once.
NURSERY = """
import gc, os, sys
from pathlib import Path
import torch, pyarrow.acero, pyarrow.parquet, sklearn.datasets
import prefect.task_engine, prefect.utilities.visualization, scipy.stats, tasks.steps
from tasks.config import CleanConfig
from tasks.pipeline.cache_keys import code_digest
from flows.command_line.foreground import prepare_prefect
lake, log = Path(sys.argv[1]), sys.argv[2]
config = CleanConfig.model_validate({
    "lake": lake, "reader": {"kind": "digits", "limit": 1797}, "ingestion": {"shard_rows": 16}, "folds": 2,
    "training": {"epochs": 1}, "gradient": {"kind": "functional", "batch_size": 16}, "detectors": ["l2"],
    "verification": {"seeds": 1},
})
prepare_prefect(lake, verbose=False)
import flows.clean
# Read and parsed once for all lives, and not by each for its cache keys.
code_digest([name for name in sys.modules if name.partition(".")[0] in ("flows", "tasks")])
gc.freeze()
print("ready", flush=True)
for _ in sys.stdin:
    child = os.fork()
    if child == 0:
        with open(log, "a") as out:
            os.dup2(out.fileno(), 1), os.dup2(out.fileno(), 2)
        code = 1
        try:
            flows.clean.clean(config)
            code = 0
        finally:
            os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """Runs on one lake, one at a time."""

    def __init__(self, lake: Path, server: str) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
        self.lake, self.log = lake, lake.parent / f"{lake.name}.log"
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, str(lake), str(self.log)],
            env=kept | {"OMP_NUM_THREADS": "1", "PREFECT_API_URL": server},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def start(self) -> int:
        """Begin a run and return its process."""
        assert self.process.stdin is not None
        self.process.stdin.write("run\n")
        self.process.stdin.flush()
        return int(self.line())

    def finished(self) -> int:
        """Wait for the run to end; its exit code."""
        return int(self.line())

    def shards(self) -> set[str]:
        return {path.name for path in (self.lake / "cache").glob("gradients-*")}

    def in_hand(self) -> set[Path]:
        return set((self.lake / "cache").glob(".partial-*/gradients"))


@pytest.fixture
def nursery(server, tmp_path):
    started = []

    def start(name: str) -> Nursery:
        started.append(Nursery(tmp_path / name, server))
        return started[-1]

    yield start
    for one in started:
        one.process.kill()


@pytest.mark.timeout(600)
def test_twenty_kills_at_random_moments_lose_no_finished_shard_and_change_no_byte(nursery):
    moments = random.Random(0)
    broken = nursery("broken")
    torn = 0
    for kill in range(KILLS):
        before, left = broken.shards(), broken.in_hand()
        child = broken.start()
        deadline = time.monotonic() + 120
        # Every other blow falls as soon as a shard is in hand, so that some surely tear one.
        at_once = kill % 2 == 0
        while not (broken.in_hand() - left or (broken.shards() - before and not at_once)):
            assert time.monotonic() < deadline, broken.log.read_text()[-3000:]
            time.sleep(0 if at_once else 0.005)
        if not at_once:
            time.sleep(moments.uniform(0.0, 0.2))
        os.kill(child, signal.SIGKILL)
        assert broken.finished() == -signal.SIGKILL, "the run was over before it was killed"
        torn += bool(broken.in_hand() - left)
        assert before <= broken.shards()
    assert torn > 0, "no kill struck while a shard was being written"
    finished = broken.shards()
    kept = {name: (broken.lake / "cache" / name / "manifest.json").stat().st_mtime_ns for name in finished}
    broken.start()
    assert broken.finished() == 0, broken.log.read_text()[-3000:]
    assert len(broken.shards()) > len(finished) > 0
    assert not broken.in_hand()
    for name, written in kept.items():
        assert (broken.lake / "cache" / name / "manifest.json").stat().st_mtime_ns == written
    whole = nursery("whole")
    whole.start()
    assert whole.finished() == 0, whole.log.read_text()[-3000:]
    files = [
        {path.name: sha256_of(path) for path in (lake / "runs").glob("*/gradients/*")}
        for lake in (broken.lake, whole.lake)
    ]
    assert files[0] == files[1]
    assert len(files[0]) > 150
