"""The same run elsewhere: another hash seed, locale and time zone, other numbers of workers: the same bytes.

Not another OMP_NUM_THREADS: sums of another order have other last bits, in a network's weights and all that follows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache, partial
from pathlib import Path
from typing import Any

from tests.benchmarks.torture import hand_run, lake_state
from tests.benchmarks.torture.children import in_child
from tests.benchmarks.torture.crash import subjects
from tests.benchmarks.torture.operations import ROWS, Trial
from tests.benchmarks.torture.tally import Tally

# Steps without Prefect, in an interpreter of its own: what differs must differ before it begins.
_ELSEWHERE: dict[str, dict[str, str]] = {
    "hash seed": {"PYTHONHASHSEED": "4242"},
    "locale and time zone": {"LC_ALL": "C", "LANG": "tr_TR.UTF-8", "TZ": "Pacific/Chatham"},
    "threads of Arrow": {"ARROW_NUM_THREADS": "1", "ARROW_IO_THREADS": "1"},
}
_ALL_AT_ONCE = {name: value for variables in _ELSEWHERE.values() for name, value in variables.items()}
_CODE = """
import sys
from pathlib import Path
from tests.benchmarks.torture.hand_run import clean, config_of
clean(config_of(Path(sys.argv[1]), Path(sys.argv[2])), Path(sys.argv[3]))
"""
# The whole flow, each with a Prefect server of its own.
_WORKERS: dict[str, tuple[str, ...]] = {
    "one thread": ("--runner.workers", "1"),
    "two threads of the runner": ("--runner.workers", "2"),
    "two processes": ("--runner.kind", "processes", "--runner.workers", "2"),
}


def determinism(trial: Trial, seed: int, long: bool, minutes: float) -> Tally:
    """In short all that differs at once; long each by itself, and the flow by one and two workers and processes."""
    tally = Tally("determinism", minutes)
    if not long:
        expected, actual = _comparable(subjects(trial)[-1].expected), _files(beside(trial), lambda: begin(trial).wait())
        tally.add("all at once", str(_ALL_AT_ONCE), lake_state.differences(expected, actual))
        return tally
    hand_run.write_source(trial.source, ROWS[1])
    expected = _files(trial, partial(_here, trial))
    for name, variables in _ELSEWHERE.items():
        actual = _files(trial, partial(_elsewhere, trial, variables))
        tally.add(name, str(variables), lake_state.differences(expected, actual))
    first: lake_state.State = {}
    for name, options in _WORKERS.items():
        actual = _files(trial, partial(_flow, trial, options))
        first = first or actual
        tally.add(name, " ".join(options), lake_state.differences(first, actual))
    return tally


def beside(trial: Trial) -> Trial:
    """Where a run is made elsewhere while other trials go on here."""
    return Trial(trial.home / "elsewhere")


@cache
def begin(trial: Trial) -> subprocess.Popen[bytes]:
    """The run elsewhere, which takes its time in an interpreter of its own; begun once, wherever it is asked for."""
    other = beside(trial)
    hand_run.write_source(other.source, ROWS[2])
    other.lake.mkdir()
    arguments = [str(other.lake), str(other.source), str(other.home / "results")]
    command = [sys.executable, "-c", _CODE, *arguments]
    return subprocess.Popen(command, env=_environment() | _ALL_AT_ONCE, stdout=subprocess.DEVNULL)


def _files(trial: Trial, run: Any) -> lake_state.State:
    run()
    return _comparable(in_child(lambda: lake_state.state(trial.lake, set())).value)


def _comparable(state: lake_state.State) -> lake_state.State:
    """Without what the configuration says of workers, and what quotes it."""
    return {name: found for name, found in state.items() if not name.endswith((".yaml", ".html"))}


def _here(trial: Trial) -> None:
    trial.empty()
    outcome = in_child(partial(hand_run.clean, hand_run.config_of(trial.lake, trial.source), trial.home / "results"))
    if outcome.state != "done":
        raise RuntimeError(outcome.told)


def _elsewhere(trial: Trial, variables: dict[str, str]) -> None:
    trial.empty()
    arguments = [str(trial.lake), str(trial.source), str(trial.home / "results")]
    _call([sys.executable, "-c", _CODE, *arguments], variables)


def _flow(trial: Trial, options: tuple[str, ...]) -> None:
    """Publishes manifests that say how it was run: those are compared by everything but their configuration."""
    trial.empty()
    home = trial.home / "prefect"
    shutil.rmtree(home, ignore_errors=True)
    small = ["--ingestion.shard-rows", "64", "--folds", "2", "--training.epochs", "1", "--detectors", "l2"]
    small += ["--budget.kind", "share", "--budget.share", "0.05", "--verification.seeds", "1"]
    command = [sys.executable, "-m", "flows", "clean", str(trial.source), "--reader.label", "label"]
    _call([*command, "--lake", str(trial.lake), *small, *options], {"PREFECT_HOME": str(home)})
    for path in (trial.lake / "versions").rglob("v*.json"):
        path.unlink()


def _call(command: list[str], variables: dict[str, str]) -> None:
    done = subprocess.run(command, env=_environment() | variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{command}: {done.stderr[-2000:]}")


def _environment() -> dict[str, str]:
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    return environment | {"PYTHONPATH": str(Path(__file__).resolve().parents[3])}
