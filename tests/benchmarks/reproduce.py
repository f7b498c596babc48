"""Every experiment of the paper at small scale, and one table of all: ours beside the paper's, with the controls.

    python tests/benchmarks/reproduce.py --bench FOLDER [--lake reproduced] [--only half-moons,toy-linear]

What an earlier call has finished is taken from the lake's cache; what cannot be run is said, and no reason to stop.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tasks.evaluation.experiments import experiment, names
from tasks.evaluation.reproduction import Reproduction


def main() -> None:
    """Run them, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, help="default: GRADSIEVE_BENCH")
    parser.add_argument("--lake", type=Path, default=Path("reproduced"))
    parser.add_argument("--only", help="names, with commas; default: all")
    parser.add_argument("--seeds", type=int, help="at most so many repetitions of each; default: its own number")
    parser.add_argument("--report", action="store_true", help="only print the table of what has been run")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="at once, each with its share of the threads")
    asked = parser.parse_args()
    environment = os.environ | {"OMP_NUM_THREADS": str(max(1, (os.cpu_count() or 1) // asked.jobs))}
    if asked.bench:
        environment["GRADSIEVE_BENCH"] = str(asked.bench.resolve())
    # The longest first, so that none is left alone with one core at the end.
    every = sorted(names(), key=lambda name: -(experiment(name).minutes or 0))
    wanted = [] if asked.report else (asked.only.split(",") if asked.only else every)
    began = time.monotonic()
    with ThreadPoolExecutor(asked.jobs) as pool:
        said = list(pool.map(lambda name: run(name, asked.lake, asked.seeds, environment), wanted))
    print(table(asked.lake / "reproductions"))
    print(*(f"{name}: {why}" for name, why in zip(wanted, said, strict=True) if why), sep="\n")
    print(f"{(time.monotonic() - began) / 60:.0f} min in all")


def run(name: str, lake: Path, seeds: int | None, environment: dict[str, str]) -> str:
    """Run one of them; why it failed, if it did."""
    began = time.monotonic()
    command = [sys.executable, "-m", "flows", "reproduce", name, "--lake", str(lake)]
    command += ["--seeds", str(min(seeds, experiment(name).scale("small").seeds))] if seeds else []
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    print(f"{name}: {time.monotonic() - began:.0f} s, exit code {done.returncode}", file=sys.stderr, flush=True)
    return "\n".join(done.stderr.strip().splitlines()[-8:]) if done.returncode else ""


def table(home: Path) -> str:
    """All that has been run, as one Markdown table; a dash for what the paper does not say."""
    found = [Reproduction.model_validate(json.loads(path.read_text())) for path in sorted(home.glob("*.json"))]
    heads = list(dict.fromkeys(head for one in found for _, rows in one.sections for head in rows[0]))
    lines = ["| " + " | ".join(["experiment", "set", *heads]) + " |", "|---" * (len(heads) + 2) + "|"]
    for one in found:
        for name, rows in one.sections:
            for row in rows:
                cells = [f"{one.experiment}, {one.scale}", name, *(row.get(head, "–") for head in heads)]
                lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
