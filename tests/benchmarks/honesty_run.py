"""One case of the honesty benchmark under one seed: the product's own steps, and what they state beside the truth."""

from __future__ import annotations

import inspect
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from honesty_cases import Case
from honesty_sets import Rows

from tasks import steps
from tasks.config import CleanConfig
from tasks.dataset.samples import observed_shards, split_of, table_of
from tasks.decision.budgets import BudgetChoice
from tasks.kernels.ranking import average_precision, precision_at
from tasks.pipeline.artefacts import Artefact, Run, artefact_list
from tasks.pipeline.cache_keys import content_key
from tasks.pipeline.recorded_run import reference
from tasks.pipeline.result_records import SERIALIZER
from tasks.planning.plan import Plan
from tasks.scoring.crossfit import CrossFit
from tasks.scoring.detectors import DetectorChoice
from tasks.training.fit_together import stacks_of

CLEANLAB = ("self_confidence", "normalized_margin", "confidence_weighted_entropy")


@dataclass(frozen=True)
class Steps:
    """The product's steps as plain functions, each result kept under the very key by which Prefect would keep it.

    A change of estimates or budgets runs again what depends on it; trainings and gradients stay.
    """

    run: Run
    spent: list[float] = field(default_factory=list)
    """CPU seconds of each step, whether it ran now or before."""

    def __call__(self, step: Any, *arguments: Any) -> Any:
        """What the step makes of these, made now or before: an artefact, or a list of them."""
        parameters = dict(inspect.signature(step.fn).bind(self.run, *arguments).arguments)
        key = content_key(cast("Any", SimpleNamespace(task=step, result_store=self)), parameters)
        if not self.exists(key):
            self._keep(key, step.fn, parameters)
        self.spent.append(json.loads(self._path(key).read_bytes())["cpu"])
        return self.read(key).result

    @property
    def result_storage(self) -> Any:
        """Where records lie: here."""
        return self

    def read_path(self, key: str, *, _sync: bool) -> bytes:
        """A record that holds nothing, in place of Prefect's.

        Raises:
            FileNotFoundError: such a result is not kept.
        """
        if not self.exists(key):
            raise FileNotFoundError(key)
        return json.dumps({"metadata": {"serializer": SERIALIZER}, "result": "[]"}).encode()

    def exists(self, key: str) -> bool:
        """Whether such a result is kept."""
        return self._path(key).exists()

    def read(self, key: str) -> Any:
        """The one kept, as a store of Prefect's gives it."""
        kept = json.loads(self._path(key).read_bytes())
        artefacts = [Artefact.model_validate(artefact) for artefact in kept["artefacts"]]
        return SimpleNamespace(result=artefacts if kept["several"] else artefacts[0])

    def _keep(self, key: str, function: Callable[..., Any], parameters: dict[str, Any]) -> None:
        begun = time.process_time()
        made = function(**parameters)
        path = self._path(key)
        artefacts = [artefact.model_dump(mode="json") for artefact in (made if isinstance(made, list) else [made])]
        kept = {"cpu": round(time.process_time() - begun, 2), "several": isinstance(made, list), "artefacts": artefacts}
        _write(path, lambda partial: partial.write_text(json.dumps(kept)))

    def _path(self, key: str) -> Path:
        return self.run.lake / "calls" / f"{key}.json"


def _write(path: Path, write: Callable[[Path], object]) -> None:
    """Aside, then into place: others who share the folder see all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".partial-{os.getpid()}")
    write(partial)
    partial.replace(path)


def measured(case: Case, seed: int, folder: Path) -> dict[str, Any]:
    """One line of results: what is true, what the default budget and one of 90 % precision state, and who ranks how."""
    begun = time.perf_counter()
    rows = case.rows(seed)
    config = _config(case, seed, rows, folder)
    with Run.start(config.lake, config.name) as run:
        call = Steps(run)
        crossfit = _cross_fitted(call, config)
        scores = call(steps.score, crossfit, config.detector_components)
        others = [DetectorChoice(kind=kind).component for kind in _singles(scores)]
        suspicions = _columns(run, scores, call(steps.score, crossfit, others))
        ids = suspicions.pop("sample_id")
        wrong = _wrong(run, crossfit.samples, ids, rows)
        wrong_of = dict(zip(ids, wrong, strict=True))
        precise = BudgetChoice(options={"precision": 0.9}).component
        budgets = {"default": config.budget.component, "precise": precise}
        stated = {
            name: _stated(run, call(steps.flag, crossfit, scores, budget, config.flagging), wrong_of)
            for name, budget in budgets.items()
        }
    return {
        "case": case.name,
        "seed": seed,
        "n": len(wrong),
        "left_out": len(rows.truth) - len(wrong),
        "wrong": float(wrong.mean()),
        **stated,
        "ap": {kind: average_precision(values, wrong) for kind, values in suspicions.items()} if wrong.any() else {},
        "f1": _f1(suspicions[config.detector_components[0].name], wrong, stated["default"]["stated"]),
        "seconds": round(time.perf_counter() - begun, 1),
        "cpu": round(sum(call.spent), 1),
    }


def _config(case: Case, seed: int, rows: Rows, folder: Path) -> CleanConfig:
    """All defaults, but for the seeds and what the case says; every row is for training."""
    path = folder / "data" / f"{case.name}-{seed}.parquet"
    given = [float(label) for label in rows.given] if rows.target == "number" else rows.given
    table = pa.table({"x": rows.inputs, "label": given})
    _write(path, lambda partial: pq.write_table(table, partial))
    reader = {"kind": "parquet", "path": str(path), "test_share": 0.0, "target": rows.target}
    reader |= {"text": "x"} if pa.types.is_string(rows.inputs.type) else {"features": ["x"]}
    options = case.options | {"training": {"seed": 1000 * seed} | case.options.get("training", {})}
    where = {"lake": str(folder / "lake"), "dataset": case.name}
    return CleanConfig.model_validate(options | where | {"reader": reader, "canaries": {"seed": seed}})


def _cross_fitted(call: Steps, config: CleanConfig) -> CrossFit:
    """As flows/cross_fitting.py has it."""
    samples = split_of(call(steps.ingest, config.reader.component, config.ingestion), "train")
    recipe, gradient, base = config.recipe, config.gradient.component, reference(call.run, None)
    network = call(steps.probe, split_of(samples), recipe, gradient)
    folds = call(steps.make_folds, samples, config.folds, base)
    votes = call(steps.vote, samples, config.neighbours, config.training.device, folds)
    plan = Plan(folds=folds, canaries=call(steps.plant, samples, folds, votes, config.effective_canaries, base))
    stacks = stacks_of(list(range(plan.count)), network.facts["together"])
    checkpoints = artefact_list(*(call(steps.train, samples, plan, stack, recipe, base) for stack in stacks))
    gradients = [
        call(steps.extract, shard, plan, checkpoints, recipe, gradient, base) for shard in observed_shards(samples)
    ]
    return CrossFit(samples=samples, plan=plan, votes=votes, checkpoints=checkpoints, gradients=gradients)


def _singles(scores: Artefact) -> list[str]:
    """The single scores that are not among these yet: what the fusion is made of, and cleanlab's."""
    weights = scores.facts["about"].get("fusion", {}).get("weights", {})
    return [kind for kind in dict.fromkeys((*weights, *CLEANLAB)) if kind not in scores.facts["detectors"]]


def _columns(run: Run, *scores: Artefact) -> dict[str, np.ndarray]:
    """Every column of these tables of scores, each by sorted sample_id."""
    tables = [pq.read_table(run.path(artefact)) for artefact in scores]
    return {name: table[name].to_numpy() for table in tables for name in table.column_names}


def _wrong(run: Run, samples: Artefact, ids: np.ndarray, rows: Rows) -> np.ndarray:
    """Whether the label of each of these samples is wrong."""
    table = table_of(run, samples, ["sample_id", "row"])
    row_of = dict(zip(table["sample_id"].to_pylist(), table["row"].to_pylist(), strict=True))
    return rows.wrong[[row_of[sample_id] for sample_id in ids]]


def _stated(run: Run, flags: Artefact, wrong_of: dict[str, bool]) -> dict[str, Any]:
    """What is flagged, how much of that is wrong, and what is said of it."""
    path = next(path for path in run.paths(flags, ".parquet") if path.name == "flags.parquet")
    table = pq.read_table(path, columns=["sample_id", "flag", "p_wrong"])
    truth = np.array([wrong_of[sample_id] for sample_id in table["sample_id"].to_pylist()])
    flagged, chance = table["flag"].to_numpy(), table["p_wrong"].to_numpy()
    hits, found = int((truth & flagged).sum()), flags.facts["found"]
    return {
        "flagged": int(flagged.sum()),
        "precision": hits / int(flagged.sum()) if flagged.any() else None,
        "recall": hits / int(truth.sum()) if truth.any() else None,
        "stated": {name: found.get(name) for name in ("wrong", "precision", "recall")},
        "diagnosis": flags.facts.get("diagnosis") or flags.facts.get("diagnoses") or found.get("diagnosis"),
        "note": found.get("note"),
        "p_wrong": None if np.isnan(chance).any() else float(chance.mean()),
        "brier": None if np.isnan(chance).any() else float(((chance - truth) ** 2).mean()),
    }


def _f1(fusion: np.ndarray, wrong: np.ndarray, stated: dict[str, Any]) -> dict[str, float | None]:
    """F1 of as many of the most suspect as labels are said to be wrong, and of as many as are."""
    share = (stated["wrong"] or {}).get("value")
    if not wrong.any():
        return {"found": None, "true": None}
    count = 0 if share is None else round(share * len(wrong))
    hits = precision_at(fusion, wrong, count) * count if count else 0.0
    f1 = 2 * hits / (count + int(wrong.sum()))
    return {"found": None if share is None else f1, "true": precision_at(fusion, wrong, int(wrong.sum()))}
