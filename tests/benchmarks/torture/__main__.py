"""The command; it starts itself again with the shim loaded."""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import pkgutil
import sys
import tempfile
import threading
from contextlib import suppress
from functools import partial
from pathlib import Path

from tests.benchmarks.torture.faults import library
from tests.benchmarks.torture.tally import Tally

PARTS = ("crash", "errno", "corruption", "concurrency", "determinism")
_SKIPPED = 77


def main() -> int:
    """Torture; 0 where everything was survived."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.torture", description=__doc__)
    parser.add_argument("--long", action="store_true", help="everything, in place of a draw of two minutes")
    parser.add_argument("--seed", type=int, default=0, help="of the draw")
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS, help="these parts alone")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="of each part; what is left is counted")
    parser.add_argument("--output", type=Path, help="counts and failures, as JSON")
    options = parser.parse_args()
    if "LD_PRELOAD" not in os.environ:
        return _with_shim()
    with tempfile.TemporaryDirectory(prefix="gradsieve-torture-") as home:
        tallies = _tortured(Path(home).resolve(), options)
    for tally in tallies:
        print("\n".join(["", *tally.lines()]))
    failures = [line for tally in tallies for line in tally.failures]
    print("\n".join(["", f"seed {options.seed}: {len(failures)} not survived", *failures]))
    if options.output:
        counts = {tally.part: {kind: score._asdict() for kind, score in tally.scores.items()} for tally in tallies}
        options.output.write_text(json.dumps({"scores": counts, "failures": failures}, indent=1))
    return int(bool(failures))


def _with_shim() -> int:
    built = library()
    if built is None:
        print("No compiler here, or no Linux: nothing was tried.", file=sys.stderr)
        return _SKIPPED
    environment = os.environ | {"LD_PRELOAD": str(built), "OMP_NUM_THREADS": "1", "PREFECT_LOGGING_LEVEL": "CRITICAL"}
    environment["DO_NOT_TRACK"] = "1"
    command = [sys.executable, "-m", "tests.benchmarks.torture", *sys.argv[1:]]
    os.execve(command[0], command, environment)  # noqa: S606  ourselves


def _tortured(home: Path, options: argparse.Namespace) -> list[Tally]:
    import tasks

    modules = [module.name for module in pkgutil.walk_packages(tasks.__path__, "tasks.")]
    for name in modules:
        importlib.import_module(name)
    from tasks.pipeline.cache_keys import code_digest
    from tasks.pipeline.provenance import code_version
    from tests.benchmarks.torture import lake_state
    from tests.benchmarks.torture.children import in_child
    from tests.benchmarks.torture.determinism import begin
    from tests.benchmarks.torture.hand_run import Digests
    from tests.benchmarks.torture.operations import Trial

    # What keys ask of the code is read once here, and not by each child.
    code_digest(modules)
    # Whoever forks must be alone, so a child makes the lake. What it has imported the next ones need not import.
    trial, tallies = Trial(home), []
    Digests.keep()
    made = in_child(partial(Trial.prepare, trial))
    if made.state != "done":
        raise RuntimeError(f"{made.text}\n{made.trace}")
    names, Digests.known = made.value
    code_version()
    for name in names:
        with suppress(ImportError):
            importlib.import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    gc.freeze()
    whole = lake_state.content(trial.template)
    if "determinism" in options.only and not options.long:
        begin(trial)
    for part in options.only:
        name = "errnos" if part == "errno" else part
        torture = getattr(importlib.import_module(f"tests.benchmarks.torture.{name}"), name)
        tallies.append(torture(trial, options.seed, options.long, options.minutes))
    assert lake_state.content(trial.template) == whole, "a trial wrote into a file of the template"
    return tallies


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Without the farewells of libraries that were only ever used in children.
    os._exit(code)
