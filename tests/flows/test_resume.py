"""A kill -9 at any moment of the extraction loses at most the shards in hand; the next run writes the same bytes."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from environments import environment_of_a_command

from tasks.pipeline.durable_files import sha256_of

# Of the whole flow, with Prefect's store of results; hundreds of others: tests/benchmarks/torture.
KILLS = 4
# A process that has everything imported and forks one child for each run: a life then begins at once.
NURSERY = """
import gc, os, sys
from pathlib import Path
import torch, pyarrow.acero, pyarrow.parquet, sklearn.datasets
import prefect.task_engine, prefect.utilities.visualization, scipy.stats, tasks.steps
from tasks.config import CleanConfig
from tasks.pipeline.cache_keys import code_digest
from flows.command_line.foreground import prepare_prefect
config = CleanConfig.model_validate({
    "reader": {"kind": "digits", "limit": 450}, "ingestion": {"shard_rows": 16}, "folds": 2,
    "training": {"epochs": 1}, "gradient": {"kind": "functional", "batch_size": 16}, "detectors": ["l2"],
    "verification": {"seeds": 1},
})
prepare_prefect(Path(sys.argv[1]), verbose=False)
import flows.clean
from prefect.context import refresh_global_settings_context
# Read and parsed once for all lives, and not by each for its cache keys.
code_digest([name for name in sys.modules if name.partition(".")[0] in ("flows", "tasks")])
gc.freeze()
print("ready", flush=True)
for line in sys.stdin:
    lake = Path(line.strip())
    child = os.fork()
    if child == 0:
        os.environ["PREFECT_LOCAL_STORAGE_PATH"] = str(lake / "cache" / "results")
        refresh_global_settings_context()
        with open(f"{lake}.log", "a") as out:
            os.dup2(out.fileno(), 1), os.dup2(out.fileno(), 2)
        code = 1
        try:
            flows.clean.clean(config.model_copy(update={"lake": lake}))
            code = 0
        finally:
            os._exit(code)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Nursery:
    """Runs, one at a time, each on the lake that is named."""

    def __init__(self, home: Path, server: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", NURSERY, str(home)],
            env=environment_of_a_command(PREFECT_API_URL=server),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.line() == "ready"

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def start(self, lake: Path) -> int:
        """Begin a run and return its process."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{lake}\n")
        self.process.stdin.flush()
        return int(self.line())

    def finished(self) -> int:
        """Wait for the run to end; its exit code."""
        return int(self.line())


@dataclass(frozen=True)
class Lake:
    """What runs leave there, and what they say."""

    home: Path
    nursery: Nursery

    def start(self) -> int:
        """Begin a run and return its process."""
        return self.nursery.start(self.home)

    def shards(self) -> set[str]:
        return {path.name for path in (self.home / "cache").glob("gradients-*")}

    def in_hand(self) -> set[Path]:
        return set((self.home / "cache").glob(".partial-*/gradients"))

    def log(self) -> str:
        """Its end."""
        return Path(f"{self.home}.log").read_text()[-3000:]


@pytest.fixture
def lake(server, tmp_path):
    """A lake by its name; the runs of all come from one process."""
    nursery = Nursery(tmp_path, server)
    yield lambda name: Lake(tmp_path / name, nursery)
    nursery.process.kill()


def test_four_kills_at_random_moments_lose_no_finished_shard_and_change_no_byte(lake):
    moments = random.Random(0)
    broken = lake("broken")
    torn = 0
    for kill in range(KILLS):
        before, left = broken.shards(), broken.in_hand()
        child = broken.start()
        deadline = time.monotonic() + 120
        # Every other blow falls as soon as a shard is in hand, so that some surely tear one.
        at_once = kill % 2 == 0
        while not (broken.in_hand() - left or (broken.shards() - before and not at_once)):
            assert time.monotonic() < deadline, broken.log()
            # Less than a shard takes, and not without a pause: whoever looks takes the processor from whom he looks at.
            time.sleep(0.003)
        if not at_once:
            time.sleep(moments.uniform(0.0, 0.2))
        os.kill(child, signal.SIGKILL)
        assert broken.nursery.finished() == -signal.SIGKILL, "the run was over before it was killed"
        torn += bool(broken.in_hand() - left)
        assert before <= broken.shards()
    assert torn > 0, "no kill struck while a shard was being written"
    finished = broken.shards()
    kept = {name: (broken.home / "cache" / name / "manifest.json").stat().st_mtime_ns for name in finished}
    broken.start()
    assert broken.nursery.finished() == 0, broken.log()
    assert len(broken.shards()) > len(finished) > 0
    assert not broken.in_hand()
    for name, written in kept.items():
        assert (broken.home / "cache" / name / "manifest.json").stat().st_mtime_ns == written
    whole = lake("whole")
    whole.start()
    assert whole.nursery.finished() == 0, whole.log()
    assert len(whole.shards()) == len(broken.shards())  # its own, computed anew
    files = [
        {path.name: sha256_of(path) for path in (home / "runs").glob("*/gradients/*")}
        for home in (broken.home, whole.home)
    ]
    assert files[0] == files[1]
    assert len(files[0]) > 35
