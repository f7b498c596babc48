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
from pathlib import Path

from tasks.experiments import names
from tasks.reproduction import Reproduction


def main() -> None:
    """Run them one by one, each in a process of its own, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bench", type=Path, help="default: GRADSIEVE_BENCH")
    parser.add_argument("--lake", type=Path, default=Path("reproduced"))
    parser.add_argument("--only", help="names, with commas; default: all")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--report", action="store_true", help="only print the table of what has been run")
    asked = parser.parse_args()
    environment = os.environ | ({"GRADSIEVE_BENCH": str(asked.bench.resolve())} if asked.bench else {})
    failed = {}
    for name in asked.only.split(",") if asked.only else names():
        if not asked.report:
            began = time.monotonic()
            command = [sys.executable, "-m", "flows", "reproduce", name, "--lake", str(asked.lake)]
            command += ["--seeds", str(asked.seeds)] if asked.seeds else []
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            print(f"{name}: {time.monotonic() - began:.0f} s, exit code {done.returncode}", file=sys.stderr, flush=True)
            if done.returncode:
                failed[name] = done.stderr.strip().splitlines()[-1]
    print(table(asked.lake / "reproductions"))
    print(*(f"{name}: {why}" for name, why in failed.items()), sep="\n")


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
