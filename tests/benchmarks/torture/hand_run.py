"""A whole run as flows/clean.py makes it, without Prefect: each step is called as the plain function that it is."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple, cast

from tasks import steps
from tasks.config import CleanConfig
from tasks.dataset.samples import observed_shards, split_of
from tasks.pipeline import cache_keys
from tasks.pipeline.artefacts import Artefact, Run, artefact_list
from tasks.pipeline.cache_keys import TaskContext, content_key
from tasks.pipeline.durable_files import write_durably
from tasks.pipeline.recorded_run import reference
from tasks.pipeline.result_records import SERIALIZER
from tasks.pipeline.schemas import SPLITS
from tasks.planning.plan import Plan
from tasks.proof.trials import Trials, trials_of
from tasks.report.run_page import put_down
from tasks.scoring.crossfit import CrossFit
from tasks.training.fit_together import stacks_of
from tasks.versions.publication import history_of

Mark = Callable[[str], None]
Made = Artefact | list[Artefact]
"""What a stage gives: one result, or one of each network that is trained together."""


def config_of(lake: Path, source: Path, **more: Any) -> CleanConfig:
    """The smallest run that has every stage: two folds, one epoch, one retraining of each arm."""
    small = {
        "lake": lake,
        "reader": {"kind": "csv", "path": str(source), "label": "label"},
        "ingestion": {"shard_rows": 64},
        "folds": 2,
        "training": {"epochs": 1},
        "detectors": ["l2"],
        "budget": {"kind": "share", "share": 0.05},
        "verification": {"seeds": 1},
    }
    return CleanConfig.model_validate(small | more)


def write_source(path: Path, rows: int, seed: int = 0) -> Path:
    """A table of two classes, four numbers a row; the same rows come first however many there are."""
    lines = ["a,b,c,d,label"]
    for row in range(rows):
        draw = hashlib.sha256(f"{seed}-{row}".encode()).digest()
        shift = 120 * (draw[0] % 2)
        numbers = ",".join(str(value + shift) for value in draw[1:5])
        lines.append(f"{numbers},{'east' if (draw[0] % 2) ^ (draw[5] < 20) else 'west'}")
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


class Digests:
    """Of the code, which stays as it is while a trial goes on: what cache keys ask for again and again.

    A child says which there were, and those that are forked later have them.
    """

    known: ClassVar[dict[str, str]] = {}

    @classmethod
    def keep(cls) -> None:
        """Let keys ask here from now on."""
        compute = cache_keys.code_digest

        def code_digest(modules: list[str]) -> str:
            name = " ".join(modules)
            if name not in cls.known:
                cls.known[name] = compute(modules)
            return cls.known[name]

        cache_keys.code_digest = code_digest


class _Kept(NamedTuple):
    """What the keys look at: a result as Prefect's store gives it."""

    result: Made


class Results(NamedTuple):
    """Prefect's store of results, as much of it as the product's own keys ask for."""

    folder: Path

    @property
    def result_storage(self) -> Any:
        """Where records lie: here."""
        return self

    def read_path(self, key: str, *, _sync: bool) -> bytes:
        """A record that holds nothing, in place of Prefect's.

        Raises:
            FileNotFoundError: no stage of this key was finished.
        """
        if not self.exists(key):
            raise FileNotFoundError(key)
        return json.dumps({"metadata": {"serializer": SERIALIZER}, "result": "[]"}).encode()

    def exists(self, key: str) -> bool:
        """Whether a stage of this key was finished."""
        return (self.folder / key).is_file()

    def read(self, key: str) -> _Kept:
        """What came of it."""
        return _Kept(_artefact(json.loads((self.folder / key).read_bytes())))

    def of(self, task: Any, run: Run, *arguments: Any) -> Any:
        """A stage's result: as it was kept, where it is intact, else made anew."""
        context = cast("TaskContext", SimpleNamespace(task=task, result_store=self))
        key = content_key(context, inspect.signature(task.fn).bind(run, *arguments).arguments)
        if self.exists(key):
            return self.read(key).result
        made = task.fn(run, *arguments)
        self.folder.mkdir(exist_ok=True)
        write_durably(self.folder / key, json.dumps(_plain(made)))
        return made


def prepared(config: CleanConfig, results: Path, mark: Mark = lambda _: None) -> tuple[Run, dict[str, Any]]:
    """A run up to its record, and what publish takes beside the run and the history."""

    def stage(name: str, *arguments: Any) -> Any:
        mark(name)
        return Results(results).of(getattr(steps, name), run, *arguments)

    name, reader, recipe = config.name, config.reader.component, config.recipe
    mark("start")
    run = Run.start(config.lake, name, config.memory_gib)
    history_of(run, config.store, name)
    base = reference(run, None)
    ingested = stage("ingest", reader, config.ingestion)
    copies = stage("find_copies", ingested, config.copies, None)
    left_out = copies.subset(("left_out",))
    samples = stage("leave_out_copies", ingested, left_out) if left_out.rows else ingested
    inputs, known = split_of(samples, *SPLITS), split_of(samples, "train")
    network = stage("probe", split_of(inputs), recipe, config.gradient.component)
    together = network.facts["together"]
    folds = stage("make_folds", known, config.folds, base, copies.subset(("near_contents",)))
    votes = stage("vote", known, config.neighbours, "cpu", folds)
    plan = Plan(folds=folds, canaries=None)
    stacks = stacks_of(list(range(plan.count)), together)
    models = artefact_list(*(stage("train", known, plan, stack, recipe, base) for stack in stacks))
    given = (plan, models, recipe, config.gradient.component, base)
    gradients = [stage("extract", shard, *given) for shard in observed_shards(inputs)]
    crossfit = CrossFit(samples=known, plan=plan, votes=votes, checkpoints=models, gradients=gradients)
    audit = stage("audit_heldout_labels", inputs, inputs, models, config.neighbours, recipe)
    scores = stage("score", crossfit, config.detector_components)
    flags = stage("flag", crossfit, scores, config.budget_components[0], config.flagging)
    proof, verification = split_of(inputs, "train", "test"), config.verification
    arms, seeds = verification.pairs(flags.facts["flagged"])
    stacks = [Trials(members=members) for members in stacks_of(trials_of(flags, arms, seeds), together)]
    trials = artefact_list(*(stage("retrain", proof, stack, recipe) for stack in stacks))
    metrics = stage("verify", samples, scores, flags, audit, trials, verification, copies)
    stages = artefact_list(samples, copies, network, crossfit.stages, audit, scores, flags, trials, metrics)
    record = stage("record", name, config.yaml(), stages)
    return run, {
        "record": record,
        "samples": ingested,
        "checkpoints": models,
        "scores": scores,
        "flags": flags,
        "metrics": metrics,
        "copies": copies,
    }


def clean(config: CleanConfig, results: Path, mark: Mark = lambda _: None) -> dict[str, str]:
    """All of it; which run made which version, and what became of it."""
    run, given = prepared(config, results, mark)
    return published(config, run, given, mark)


def published(config: CleanConfig, run: Run, given: dict[str, Any], mark: Mark = lambda _: None) -> dict[str, str]:
    """From a recorded run to its version, its tag, the catalogue and the page."""
    history = history_of(run, config.store, config.name)
    mark("publish")
    version = steps.publish.fn(run=run, history=history, reader=config.reader.component, promotion="gate", **given)
    mark("promote")
    promotion = steps.promote.fn(run, history, version, given["metrics"], "gate")
    mark("index")
    steps.index.fn(run, given["record"])
    mark("report")
    put_down(run.lake, given["record"].made_by, history, version.facts["version"], [])
    run.log({"run_id": run.run_id, "state": "completed"})
    return {"run_id": run.run_id, "version": version.facts["version"], "promotion": promotion}


def keep(path: Path, given: dict[str, Any]) -> None:
    """Write down what publish takes, for another process."""
    path.write_text(json.dumps({name: _plain(value) for name, value in given.items()}))


def kept(path: Path) -> dict[str, Any]:
    """As it was written down."""
    return {name: _artefact(value) for name, value in json.loads(path.read_text()).items()}


def _plain(value: Made) -> Any:
    return [_plain(one) for one in value] if isinstance(value, list) else value.model_dump(mode="json")


def _artefact(value: Any) -> Any:
    return [_artefact(one) for one in value] if isinstance(value, list) else Artefact.model_validate(value)
