"""What is done to a lake of versions while it is harmed: each by its function, none by Prefect."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tasks import steps
from tasks.catalogue.database import build
from tasks.pipeline.artefacts import Run
from tasks.pipeline.record import record
from tasks.pipeline.recorded_run import RUN_FILE, RecordedRun
from tasks.versions.history import History
from tasks.versions.maintenance import MaintainConfig
from tasks.versions.mirror import mirror_now
from tasks.versions.object_store import Objects
from tasks.versions.rollback import roll_back
from tasks.versions.vacuum import clear, clearance
from tests.benchmarks.torture import hand_run, lake_state

DATASET = "s"
ROWS = 160, 200, 240
"""Of the source at each of three runs; the third is recorded and not published."""


class Trial(NamedTuple):
    """Where one lake is copied from, and where it is worked on: always at the same place, for views name it."""

    home: Path

    @property
    def template(self) -> Path:
        """Never changed."""
        return self.home / "template"

    @property
    def indexed(self) -> Path:
        """The same with a catalogue that knows all of it."""
        return self.home / "indexed"

    @property
    def lake(self) -> Path:
        """Made anew for each trial."""
        return self.home / "lake"

    @property
    def source(self) -> Path:
        """A table."""
        return self.home / "s.csv"

    @property
    def given(self) -> Path:
        """What publish takes of the third run."""
        return self.home / "given.json"

    def renew(self, template: Path | None = None) -> None:
        """Begin a trial."""
        self.empty()
        self.lake.rmdir()
        lake_state.copy(template or self.template, self.lake)
        lake_state.copy(self.home / "results of the template", self.home / "results")

    def empty(self) -> None:
        """Begin a trial with an empty lake, and nothing that was kept of earlier runs."""
        for folder in (self.lake, self.home / "results"):
            shutil.rmtree(folder, ignore_errors=True)
        self.lake.mkdir()

    def run(self) -> Run:
        """The third one."""
        return Run(lake=self.lake.resolve(), run_id=hand_run.kept(self.given)["record"].made_by)

    def history(self, objects: Path | None = None) -> History:
        """Of the lake's one dataset."""
        return History(Objects(objects or self.lake / "versions"), DATASET)

    def prepare(self) -> tuple[list[str], dict[str, str]]:
        """Make the template: two runs that are published, one that is recorded; all modules that it took, and what keys
        asked of the code."""
        results = self.home / "results"
        for rows in ROWS[:2]:
            hand_run.clean(hand_run.config_of(self.lake, hand_run.write_source(self.source, rows)), results)
        third = hand_run.config_of(self.lake, hand_run.write_source(self.source, ROWS[2]))
        _, given = hand_run.prepared(third, results)
        hand_run.keep(self.given, given)
        if problems := lake_state.unreadable(self.lake):
            raise RuntimeError(f"the lake is not whole to begin with: {problems}")
        self.lake.rename(self.template)
        results.rename(self.home / "results of the template")
        return sorted(sys.modules), hand_run.Digests.known


def tag(trial: Trial) -> None:
    """Point a tag of one's own at a version."""
    trial.history().move("golden", "v0002", "someone", "for a paper")


def rollback(trial: Trial) -> None:
    """Go back to the first version."""
    history = trial.history()
    roll_back(history, history.resolve("v0001"), "someone", "as it came")


def vacuum(trial: Trial) -> None:
    """Leave the newest version, the tagged ones and what they come from."""
    history = trial.history()
    clear(history, trial.lake, clearance(history, trial.lake, 1, 0))


def publish(trial: Trial) -> None:
    """The third run's versions."""
    _publish(trial, trial.history())


def _publish(trial: Trial, history: History) -> Any:
    config, given = hand_run.config_of(trial.lake, trial.source), hand_run.kept(trial.given)
    return steps.publish.fn(run=trial.run(), history=history, reader=config.reader.component, **given)


def promote(trial: Trial) -> None:
    """Of the newest version, as if its verdict were the best."""
    history, metrics = trial.history(), hand_run.kept(trial.given)["metrics"]
    verdict = metrics.facts["verdict"] | {"promote": True}
    version = hand_run.kept(trial.given)["samples"].with_facts(version="v0004")
    steps.promote.fn(trial.run(), history, version, metrics.with_facts(verdict=verdict), "gate")


def index(trial: Trial) -> None:
    """The catalogue, which does not know the third run yet."""
    build(trial.lake)


def put_down_record(trial: Trial) -> None:
    """The third run's folder again, under another name."""
    run = trial.run().model_copy(update={"run_id": f"{DATASET}-20200101T000000-abcd"})
    folder = trial.lake / "runs" / run.run_id
    # A run's id is its own: whoever runs again has another, and finds nothing in its way.
    if not folder.exists():
        stages = list(RecordedRun.of_file(trial.lake / "runs" / trial.run().run_id / RUN_FILE).stages)
        record.fn(run, DATASET, "dataset: s\n", stages)


def maintain(trial: Trial) -> None:
    """Verify what is current, clear away, mirror, index."""
    config = MaintainConfig(lake=trial.lake, keep=1, grace_hours=0, features_days=0)
    steps.tidy.fn(trial.run(), trial.history(), config)
    steps.verify_runs.fn(trial.run(), config)
    steps.clear_features.fn(trial.run(), config)
    build(trial.lake)


def mirror(trial: Trial) -> None:
    """Publish to a store elsewhere, and show it in the lake."""
    # At one stroke: what is killed in the middle of it is nobody's deed but this test's.
    own = trial.lake / "versions" / DATASET
    if own.exists():
        own.rename(Path(tempfile.mkdtemp(dir=trial.home)) / DATASET)
    history = trial.history(trial.lake / "store")
    _publish(trial, history)
    mirror_now(history, trial.lake)


OPERATIONS: dict[str, Callable[[Trial], None]] = {
    "tag": tag,
    "rollback": rollback,
    "vacuum": vacuum,
    "publish": publish,
    "promote": promote,
    "index": index,
    "record": put_down_record,
    "maintain": maintain,
    "mirror": mirror,
}


def sweep(trial: Trial) -> None:
    """As the next run begins."""
    Run.start(trial.lake, DATASET)


def again(trial: Trial, name: str) -> None:
    """What a person does after a kill: the same."""
    sweep(trial)
    OPERATIONS[name](trial)


def result(trial: Trial, name: str, known: set[str]) -> dict[str, Any]:
    """What a reader sees after a kill; then, once it is done again, what is there."""
    before = lake_state.unreadable(trial.lake)
    again(trial, name)
    return {
        "unreadable": before,
        "still unreadable": lake_state.unreadable(trial.lake),
        "partials": lake_state.partials(trial.lake),
        "state": lake_state.state(trial.lake, known),
    }
