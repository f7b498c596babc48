"""Whether the figures that are stated hold: one command, one table.

    python tests/benchmarks/honesty.py FOLDER                    the development cases, five seeds each
    python tests/benchmarks/honesty.py FOLDER --held-out         the others, once, at the end
    python tests/benchmarks/honesty.py FOLDER --table            the table of what is there, and nothing run

Each case is run by the product's own steps, without a server and without the proof. FOLDER keeps data, networks and
results: what an interruption left is run the next time, and after a change ``--again`` runs only the steps it concerns.
Several may share it, each with ``--results`` of their own.
True labels are known to this benchmark alone: they are counted against at the end.
"""

from __future__ import annotations

import os

# One thread for each of the processes, which is said before torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import logging
import sys
import traceback
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from honesty_cases import CASES, Case
from honesty_sets import WHENCE
from honesty_table import table

Job = tuple[str, int, Path]


def chosen(asked: argparse.Namespace) -> list[Case]:
    """The cases that are asked for and can be made, the largest first; the others are named."""
    if asked.cases:
        names = asked.cases.split(",")
        unknown = sorted(set(names) - {case.name for case in CASES})
        if unknown:
            sys.exit(f"--cases: no case {', '.join(unknown)}; there are {', '.join(case.name for case in CASES)}")
        cases = [case for case in CASES if case.name in names]
    else:
        cases = [case for case in CASES if case.held_out == asked.held_out]
    for case in cases:
        if case.missing:
            print(f"{case.name} is left out, for {case.needs} is not there: {WHENCE}", file=sys.stderr)
    return sorted((case for case in cases if not case.missing), key=lambda case: -case.n)


def results(path: Path) -> dict[tuple[str, int], dict[str, Any]]:
    """What was measured, the latest of each case and seed."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {(line["case"], line["seed"]): line for line in lines}


def work(job: Job) -> dict[str, Any]:
    """One case under one seed; an error is a line as well."""
    import torch
    from honesty_run import measured

    name, seed, folder = job
    logging.disable(logging.INFO)
    torch.set_num_threads(1)
    try:
        return measured(next(case for case in CASES if case.name == name), seed, folder)
    except Exception:  # noqa: BLE001  one case that fails does not end the others; its error is printed
        return {"case": name, "seed": seed, "error": traceback.format_exc()}


def run(jobs: list[Job], processes: int, path: Path) -> int:
    """Work them off and append each result; how many failed."""
    failed = 0
    with get_context("spawn").Pool(processes) as pool, path.open("a") as file:
        for number, line in enumerate(pool.imap_unordered(work, jobs), 1):
            about = f"{number} of {len(jobs)}: {line['case']}, seed {line['seed']}"
            if "error" in line:
                failed += 1
                print(f"{about} failed\n{line['error']}", file=sys.stderr, flush=True)
                continue
            print(f"{about}, {line['cpu']:.0f} CPU s", file=sys.stderr, flush=True)
            file.write(json.dumps(line) + "\n")
            file.flush()
    return failed


def main() -> None:
    """Run what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="keeps data, networks and results")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="processes")
    parser.add_argument("--cases", help="these alone, with commas between")
    parser.add_argument("--held-out", action="store_true", help="the cases that nothing was chosen by")
    parser.add_argument("--results", type=Path, help="default: results.jsonl in FOLDER; another for another code")
    parser.add_argument("--again", action="store_true", help="measure anew what is there already")
    parser.add_argument("--table", action="store_true", help="run nothing")
    asked = parser.parse_args()
    folder, cases = asked.folder.expanduser().resolve(), chosen(asked)
    folder.mkdir(parents=True, exist_ok=True)
    path = asked.results or folder / "results.jsonl"
    wanted = [(case.name, seed) for case in cases for seed in range(1, asked.seeds + 1)]
    done = {} if asked.again else results(path)
    jobs = [] if asked.table else [(name, seed, folder) for name, seed in wanted if (name, seed) not in done]
    failed = run(jobs, asked.jobs, path) if jobs else 0
    there = results(path)
    print(table([there[key] for key in wanted if key in there]))
    if len(absent := [key for key in wanted if key not in there]) > failed:
        print(f"\n{len(absent)} of {len(wanted)} runs are not measured yet", file=sys.stderr)
    if failed:
        sys.exit(f"{failed} of {len(jobs)} runs failed; the table is without them")


if __name__ == "__main__":
    main()
