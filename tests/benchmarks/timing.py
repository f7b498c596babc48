"""Interleaved timing, the machine it was done on, and the table of what was found."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

Candidate = Callable[[], Any]


@dataclass
class Row:
    """One line of the table."""

    what: str
    model: str
    candidate: str
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None
    per_second: float | None = None
    calls: str = ""
    note: str = ""


@dataclass
class Timed:
    """What one candidate gave, and how long it took; or why it could not."""

    seconds: float = float("inf")
    calls: int = 0
    slowest: float = 0.0
    output: Any = None
    error: str = ""

    def spread(self) -> str:
        """Of how many calls the minimum is, and how far the slowest of them was off."""
        return f"{self.calls}×" + (f", +{self.slowest / self.seconds - 1:.0%}" if self.calls > 1 else "")


def seconds(candidate: Candidate, device: torch.device) -> tuple[float, Any]:
    """Duration of one call: of the work on the device where that is a GPU, CPU seconds where one thread does it all.

    What else the machine does adds little to those; with more threads they would be a sum, and the clock's are taken.
    """
    if device.type != "cuda":
        clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
        start = clock()
        output = candidate()
        return clock() - start, output
    before, after = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    before.record()
    output = candidate()
    after.record()
    after.synchronize()
    return before.elapsed_time(after) / 1000, output


def interleave(candidates: dict[str, Candidate], device: torch.device, budget: float) -> dict[str, Timed]:
    """Fastest durations of candidates that take turns (A, B, C, A, B, C, …): three rounds, more within ``budget`` s,
    two where they take more than four times the budget.

    Minima, because what else the machine does can only add. So that they are of as many calls each, all candidates
    stay to the end, but for those whose first call took more than a fifth of a second and 2.5 times the first
    candidate's: these have that one call. Each is called once unmeasured before, and that output kept to be compared.
    """
    found: dict[str, Timed] = {name: Timed() for name in candidates}
    taken: dict[str, list[float]] = {}
    for name, candidate in candidates.items():
        try:
            found[name].output = candidate()
            taken[name] = []
        except Exception as error:  # noqa: BLE001  a peer that fails is a row of the table, not the end of it
            found[name].error = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
    due = list(taken)
    start = time.perf_counter()
    for turn in range(15):
        spent = time.perf_counter() - start
        if (turn >= 3 and spent > budget) or (turn == 2 and spent > 4 * budget):
            break
        for name in due:
            taken[name].append(seconds(candidates[name], device)[0])
        if not turn and due:
            slow = max(0.2, 2.5 * taken[due[0]][0])
            due = [name for name in due if taken[name][0] <= slow]
    for name, durations in taken.items():
        found[name].seconds, found[name].calls = min(durations), len(durations)
        found[name].slowest = max(durations)
    return found


def agreement(found: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-3) -> str:
    """Whether two outputs are the same, sample by sample, relative to each sample's norm.

    A sample may differ where a ReLU's input is zero but for rounding: one way of summing opens it and another does not.
    Up to one in a hundred such samples are told apart and not counted as another output.
    """
    errors = torch.linalg.vector_norm((found - expected).reshape(len(found), -1), dim=1)
    errors /= torch.linalg.vector_norm(expected.reshape(len(found), -1), dim=1)
    apart = errors > tolerance
    count = int(apart.sum())
    if not bool(errors.isfinite().all()) or count > len(errors) / 100:
        return f"same output: NO, max. rel. error {float(errors.max()):.0e}, {count} of {len(errors)} samples differ"
    but = f"; but {count} of {len(errors)} samples: {float(errors.max()):.0e}" if count else ""
    return f"same output: yes, max. rel. error {float(errors[~apart].max()):.0e}{but}"


def machine(device: torch.device, threads: int) -> dict[str, str]:
    """What this was measured on."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines(Path("/proc/cpuinfo")) if line.startswith("model name")), "?"
    )
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--abbrev=10"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "CPU": f"{cpu}, {os.cpu_count()} processors, {threads} thread{'s' if threads > 1 else ''}",
        "GPU": torch.cuda.get_device_name() if device.type == "cuda" else "none",
        "torch": torch.__version__,
        "commit": commit.stdout.strip() or "?",
        "load": ", ".join(f"{value:.1f}" for value in os.getloadavg()) + " (1, 5, 15 min before)",
    }


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def show(rows: list[Row], about: dict[str, str], target: Path | None) -> None:
    """Print the table; keep it as JSON if asked."""
    console = Console(width=200)
    for key, value in about.items():
        console.print(f"{key}: {value}", highlight=False)
    table = Table()
    for column in ("what", "model", "candidate"):
        table.add_column(column)
    for column in ("ratio", "goal", "", "samples/s", "calls, spread"):
        table.add_column(column, justify="right")
    table.add_column("note", overflow="fold")
    before = ""
    for row in rows:
        if before and row.what != before:
            table.add_section()
        before = row.what
        met = "" if row.met is None else ("met" if row.met else "MISSED")
        ratio = "" if row.ratio is None else (f"{row.ratio:.1e}" if row.ratio < 0.005 else f"{row.ratio:.2f}")
        rate = "" if row.per_second is None else f"{row.per_second:,.0f}"
        table.add_row(row.what, row.model, row.candidate, ratio, row.goal, met, rate, row.calls, row.note)
    console.print(table)
    if target is not None:
        target.write_text(json.dumps({"machine": about, "rows": [asdict(row) for row in rows]}, indent=1))
