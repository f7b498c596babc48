"""What whole commands cost, in CPU seconds of all their processes: the main job, and what one types every day.

    python tests/benchmarks/main_job.py [--pairs 3] [--against REVISION_FOLDER]

Each command runs in turn with its rival (the same command of another checkout, or the plain script beside the main
job), so that what else the machine does falls on both; the least of each counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

HOME = Path(__file__).resolve().parents[2]
FLOW = "from prefect import flow\n@flow\ndef nothing():\n    return 1\nnothing()\n"
SMALL = ["--folds", "2", "--training.epochs", "3", "--verification.seeds", "1"]


class Cost(NamedTuple):
    """Of one call."""

    cpu: float
    wall: float


def cost(command: list[str], home: Path) -> Cost:
    """Run a command and wait for it and all its children.

    Raises:
        CalledProcessError: it failed.
    """
    # Byte-code is kept, as everywhere where nobody forbids it.
    no = ("PREFECT_API_URL", "PYTHONDONTWRITEBYTECODE")
    environment = {name: value for name, value in os.environ.items() if name not in no}
    environment |= {"PYTHONPATH": str(home), "DO_NOT_TRACK": "1"}
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(command, check=True, cwd=home, env=environment, capture_output=True)
    wall, after = time.monotonic() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall)


def gradsieve(*words: str) -> Callable[[Path, Path], Cost]:
    """A command of a checkout, on a lake."""

    def run(home: Path, lake: Path) -> Cost:
        lake_words = [] if words[0] == "--help" else ["--lake", str(lake)]
        return cost([sys.executable, "-m", "flows", words[0], *lake_words, *words[1:]], home)

    return run


def script(*words: str) -> Callable[[Path, Path], Cost]:
    """Another Python program."""
    return lambda home, _lake: cost([sys.executable, *words], home)


def anew(run: Callable[[Path, Path], Cost]) -> Callable[[Path, Path], Cost]:
    """The same on a lake of its own, which is empty."""

    def on_new_lake(home: Path, _lake: Path) -> Cost:
        with tempfile.TemporaryDirectory() as folder:
            return run(home, Path(folder))

    return on_new_lake


COMMANDS: dict[str, Callable[[Path, Path], Cost]] = {
    "clean, first run": anew(gradsieve("clean")),
    "clean, 2 folds, 3 epochs, 1 seed": anew(gradsieve("clean", *SMALL)),
    "clean, nothing changed": gradsieve("clean"),
    "--help": gradsieve("--help"),
    "runs": gradsieve("runs"),
    "sql": gradsieve("sql", "select 1"),
    "plain script": script(str(HOME / "tests" / "benchmarks" / "plain_script.py")),
    "an empty flow, by Prefect": script("-c", FLOW),
}
OURS = 6


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--against", type=Path, help="another checkout, whose commands run in turn with ours")
    given = parser.parse_args()
    homes = [HOME, *([given.against.resolve()] if given.against else [])]
    table = Table("command", "CPU s", "wall s", *(["CPU s there", "ratio"] if given.against else []))
    with tempfile.TemporaryDirectory() as folder:
        lakes = [Path(folder) / str(index) for index in range(len(homes))]
        for home, lake in zip(homes, lakes, strict=True):
            gradsieve("clean")(home, lake)
        for index, (name, run) in enumerate(COMMANDS.items()):
            costs: list[list[Cost]] = [[] for _ in homes]
            for _ in range(given.pairs):
                for place, (home, lake) in enumerate(zip(homes, lakes, strict=True)):
                    if place == 0 or index < OURS:
                        costs[place].append(run(home, lake))
            best = [min(of) if of else None for of in costs]
            assert best[0] is not None
            row = [name, f"{best[0].cpu:.2f}", f"{min(one.wall for one in costs[0]):.1f}"]
            if given.against:
                row += ["", ""] if best[1] is None else [f"{best[1].cpu:.2f}", f"{best[0].cpu / best[1].cpu:.2f}"]
            table.add_row(*row)
            Console(width=110, stderr=True).print(name, *row[1:])
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
