"""What a large table costs, stage by stage: CPU seconds, peak memory, and how both grow with the rows.

    python -m tests.benchmarks.scale FOLDER --rows 100000 1000000 [--columns 32] [--options --neighbours.count 30]

A table of numbers (``memory.py``'s) through the whole of ``clean``: logistic model, 2 folds, 2 epochs, 3 retrainings.
Each run is a process of its own with an empty lake. A stage's seconds are those of all threads of that process while
it ran; what no stage took (imports, the flow, recording, SQL views) and Prefect's temporary server stand below. The
slope is log(ratio of seconds) / log(ratio of rows) of the first and the last number of rows.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.table import Table

from tests.benchmarks.memory import REPOSITORY, numbers

RECIPE = (
    "--model.kind", "logistic", "--folds", "2", "--training.epochs", "2",
    "--verification.seeds", "1", "--no-verification.other-remedy",
)  # fmt: skip
# What is beside the stages, and what is said of all.
_REST, _SERVER, _WHOLE, _PEAK = "between stages", "temporary server", "whole, CPU s", "peak RSS, MiB"


def child(log: Path, arguments: list[str]) -> int:
    """Run a command whose stages write down what they cost; the last line is of the process."""
    from flows.command_line.application import main
    from tasks import steps

    with log.open("a", buffering=1) as lines:
        for name in steps.__all__:
            if hasattr(task := getattr(steps, name), "fn"):
                task.fn = _timed(name, task.fn, lines)
        code = main(arguments)
        used = resource.getrusage(resource.RUSAGE_SELF)
        lines.write(json.dumps([_PEAK, used.ru_maxrss / 1024]) + "\n")
        lines.write(json.dumps([_REST, used.ru_utime + used.ru_stime]) + "\n")
    return code


def _timed(name: str, function: Callable[..., Any], lines: IO[str]) -> Callable[..., Any]:
    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.process_time()
        try:
            return function(*args, **kwargs)
        finally:
            lines.write(json.dumps([name, time.process_time() - began]) + "\n")

    return timed


def cost(source: Path, options: list[str]) -> dict[str, float]:
    """CPU seconds by stage of a run on ``source``, and its peak in MiB.

    Raises:
        RuntimeError: it failed; with its last words.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory(dir=source.parent) as folder:
        log = Path(folder) / "log"
        command = [sys.executable, "-m", "tests.benchmarks.scale", "child", str(log), "clean"]
        command += ["--reader.path", str(source), *RECIPE, *options, "--lake", str(Path(folder) / "lake")]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-2000:]}")
        seconds: dict[str, float] = {}
        for line in log.read_text().splitlines():
            name, figure = json.loads(line)
            seconds[name] = seconds.get(name, 0.0) + figure
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    whole = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak, process = seconds.pop(_PEAK), seconds.pop(_REST)
    rest = {_REST: process - sum(seconds.values()), _SERVER: whole - process}
    return seconds | rest | {_WHOLE: whole, _PEAK: peak}


def table_of(costs: dict[int, dict[str, float]]) -> Table:
    """A line a stage, a column for each number of rows, and the slope."""
    table = Table("stage", *(f"{rows:,} rows" for rows in costs), "slope")
    first, last = min(costs), max(costs)
    for name in costs[last]:
        figures = [of.get(name, 0.0) for of in costs.values()]
        least, most = costs[first].get(name, 0.0), costs[last][name]
        is_large = first < last and least > 0 and most > 0
        slope = f"{math.log(most / least) / math.log(last / first):.2f}" if is_large else ""
        table.add_row(name, *(f"{figure:,.1f}" for figure in figures), slope)
    return table


def main() -> int:
    """Measure, and print the table after each run."""
    if sys.argv[1:2] == ["child"]:
        return child(Path(sys.argv[2]), sys.argv[3:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--columns", type=int, default=32)
    parser.add_argument("--options", nargs=argparse.REMAINDER, default=[], help="of clean")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    costs = {}
    for rows in given.rows:
        source = given.folder / f"numbers-{rows}-{given.columns}.parquet"
        costs[rows] = cost(numbers(source, rows, given.columns), given.options)
        Console(width=100).print(table_of(costs))
    return 0


if __name__ == "__main__":
    sys.exit(main())
