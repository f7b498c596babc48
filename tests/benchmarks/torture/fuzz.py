"""Fuzzed sources through the command line's own path: whatever a file holds, the answer is words and a code, and soon.

    python -m tests.benchmarks.torture.fuzz [--inputs 1000] [--seed 0] [--only csv] [--keep FOLDER]

Each input is a file that a reader could be given, altered; or one of a list of hostile ones (fuzz_hostile.py and
fuzz_tables.py). A child process says ``gradsieve inspect`` and then ``gradsieve clean`` of it, of which Prefect's part
is left away: options, early checks, ingest. It has so much memory and so many seconds; right are the codes 0, 2, 3, 4
and, where memory is used up, 8. A traceback, a signal, or no answer is a fault.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import tests.benchmarks.torture.fuzz_tables  # noqa: F401  enters its own
from tests.benchmarks.torture.fuzz_hostile import HOSTILE
from tests.benchmarks.torture.fuzz_inputs import KINDS, altered

RIGHT = {0, 2, 3, 4, 8}
SECONDS = 20.0
MEMORY_BYTES = 3 << 29
"""Above what a process has that has imported everything."""
# Cases of one child: what one leaves behind is met by the next ones.
_BATCH = 50


@dataclass(frozen=True)
class Case:
    """One input."""

    name: str
    write: Callable[[Path], Sequence[str]]
    """Writes it into a folder; the command line's words that name it."""


@dataclass(frozen=True)
class Outcome:
    """What came of one input."""

    name: str
    codes: tuple[int, ...]
    """Exit codes of inspect and clean; fewer where the child died."""
    said: str
    """What was printed, where that is a fault; else the last line."""
    seconds: float

    @property
    def is_fault(self) -> bool:
        """Whether it is no answer in words."""
        return len(self.codes) < 2 or not RIGHT.issuperset(self.codes) or "Traceback" in self.said


def cases(count: int, seed: int, only: str | None = None) -> list[Case]:
    """The hostile ones, and so many altered ones, the readers taking turns."""
    kinds = [kind for kind in KINDS if only in (None, kind)]
    hostile = [Case(f"hostile: {name}", write) for name, write in HOSTILE.items() if only in (None, name)]
    return hostile + [
        Case(f"{kinds[number % len(kinds)]} {seed}/{number}", altered(kinds[number % len(kinds)], seed, number))
        for number in range(count if kinds else 0)
    ]


def outcomes(
    todo: Sequence[Case], home: Path, *, seconds: float = SECONDS, memory: int = MEMORY_BYTES
) -> Iterator[Outcome]:
    """What comes of each case, in children that are killed when they take too long."""
    _import_everything()
    first = 0
    while first < len(todo):
        batch = todo[first : first + _BATCH]
        for outcome in _in_child(batch, home, seconds, memory):
            first += 1
            yield outcome


def _import_everything() -> None:
    import tasks.ingestion.ingest  # noqa: F401


def _in_child(batch: Sequence[Case], home: Path, seconds: float, memory: int) -> Iterator[Outcome]:
    """Outcomes until the batch or the child ends."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        _be_child(batch, home, writing, memory)
    os.close(writing)
    with os.fdopen(reading, "rb") as lines:
        for case in batch:
            began = time.monotonic()
            line = _line(lines, seconds)
            if line:
                codes, said = json.loads(line)
                yield Outcome(case.name, tuple(codes), said, time.monotonic() - began)
                continue
            if line is None:
                os.kill(child, signal.SIGKILL)
            _, status = os.waitpid(child, 0)
            what = f"no answer after {seconds:.0f} s" if line is None else f"died: {os.waitstatus_to_exitcode(status)}"
            yield Outcome(case.name, (), what, time.monotonic() - began)
            return
    os.waitpid(child, 0)


def _line(lines: io.BufferedReader, seconds: float) -> bytes | None:
    """A line; none of it at the end, None when it does not come."""
    ready, _, _ = select.select([lines], [], [], seconds)
    return lines.readline() if ready else None


def _be_child(batch: Sequence[Case], home: Path, writing: int, memory: int) -> None:
    """Run the cases, tell their outcomes, end."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + memory
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        _leave_prefect_away()
        for number, case in enumerate(batch):
            folder = home / f"{os.getpid()}-{number}"
            folder.mkdir()
            told = _told(case, folder)
            os.write(writing, json.dumps(told).encode() + b"\n")
            shutil.rmtree(folder, ignore_errors=True)
    except BaseException:  # noqa: BLE001  what a case itself does wrong is to be seen, in a child that then ends
        traceback.print_exc()
    finally:
        os._exit(0)


def _told(case: Case, folder: Path) -> tuple[list[int], str]:
    from flows.command_line.application import main

    here = Path.cwd()
    os.chdir(folder)
    try:
        arguments = case.write(folder)
        codes, said = [], ""
        for command in (["inspect", *arguments], ["clean", *arguments, "--lake", str(folder / "lake")]):
            out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
            with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
                codes.append(main(command))
            out.flush()
            text = out.buffer.getvalue().decode()
            said = (
                text[-4000:]
                if codes[-1] not in RIGHT
                else said or (text.strip().rpartition("\n")[2][:300] if codes[-1] else "")
            )
    finally:
        os.chdir(here)
    return codes, said


class _NoServer:
    """In place of the Prefect server of a run."""

    def call(self, run: Callable[[], str]) -> str:
        """What it returns."""
        return run()


def _leave_prefect_away() -> None:
    """Let clean end where ingest does, without a server; and let all commands be put together once, not each time."""
    from functools import cache
    from types import ModuleType

    from flows.command_line import application
    from flows.command_line.flow_commands import Clean
    from tasks.ingestion.ingest import ingest
    from tasks.pipeline.artefacts import Run

    def until_ingest(config) -> str:
        run = Run.start(config.lake, "fuzzed", config.memory_gib)
        return str(ingest.fn(run, config.reader.component, config.ingestion).facts["rows_read"])

    everything = application.application()
    setattr(application, "application", lambda _: everything)  # noqa: B010
    setattr(application, "with_values", cache(application.with_values))  # noqa: B010
    setattr(Clean, "flow", lambda _: until_ingest)  # noqa: B010
    server = ModuleType("flows.command_line.own_server")
    vars(server)["ServerOfRun"] = _NoServer
    sys.modules["flows.command_line.own_server"] = server


def main() -> int:
    """Run it and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="one reader, or one hostile input")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    todo = cases(options.inputs, options.seed, options.only)
    counts: Counter[tuple[str, str]] = Counter()
    slowest, faults = 0.0, []
    with tempfile.TemporaryDirectory(prefix="gradsieve-fuzz-") as home:
        for outcome in outcomes(todo, Path(home), seconds=options.seconds):
            kind = outcome.name.partition(" ")[0]
            counts[kind, "fault" if outcome.is_fault else f"{outcome.codes[1]}"] += 1
            slowest = max(slowest, outcome.seconds)
            if outcome.is_fault:
                faults.append(outcome)
                print(f"FAULT {outcome.name[:80]} {outcome.codes}\n{outcome.said[-4000:]}", flush=True)
            elif options.only:
                print(f"{outcome.name} {outcome.codes} {outcome.said}", flush=True)
    for (kind, code), n in sorted(counts.items()):
        print(f"{kind:14} {code:>6} {n:6,}")
    print(f"{len(todo):,} inputs, {len(faults):,} faults, the slowest {slowest:.1f} s")
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
