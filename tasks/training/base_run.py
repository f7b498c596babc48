"""An earlier run to build upon: its models and gradients are taken over, and only new samples are worked on."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime

import yaml

from tasks.core.errors import BadArtefact, BadConfig
from tasks.core.progress import LOGGER
from tasks.pipeline.artefacts import Artefact, Run
from tasks.training.drift_policy import Drifting
from tasks.training.fit import Training
from tasks.training.models import Model, ModelChoice

AUTO = "auto"
"""The latest run where that will do, none where it will not."""


def base_of(
    run: Run, name: str | None, dataset: str, model: Model | None = None, training: Training | None = None
) -> Artefact:
    """A reference to the run called ``name``, or to the dataset's ``latest``; to none without a name.

    For ``auto``, which needs the samples to be read first, see ``base_for``.

    Args:
        run: whose lake.
        name: of the base, ``latest``, or None.
        dataset: whose latest.
        model: what the base's networks must be, if given.
        training: how they must have been trained, wherever.

    Raises:
        BadConfig: no such run is recorded, or its networks are others.
    """
    if name is None:
        return _reference(run, None)
    recorded = []
    for path in (run.lake / "runs").glob("[!.]*/run.json"):
        about = json.loads(path.read_text(encoding="utf-8"))
        if about["run_id"] == name or (name == "latest" and about["dataset"] == dataset):
            recorded.append((about["recorded"], about["run_id"]))
    if not recorded:
        raise BadConfig(
            where="option base",
            expected=f"a recorded run's id, or latest of the dataset {dataset}",
            got=f"{name}, of which there is none",
            do="See gradsieve runs; the first run of a dataset has no base.",
        )
    base = _reference(run, max(recorded)[1])
    if model is not None and training is not None:
        _check_recipe(run, base, model, training)
    return base


def base_for(
    run: Run,
    name: str | None,
    dataset: str,
    samples: Artefact,
    folds: int,
    model: Model,
    training: Training,
    drifting: Drifting,
) -> Artefact:
    """What samples are built upon: see ``base_of``; for ``auto`` the latest run if they can and should be, else none.

    The log says which, and why.
    """
    if name != AUTO:
        return base_of(run, name, dataset, model, training)
    try:
        base = base_of(run, "latest", dataset, model, training)
    except (BadConfig, BadArtefact) as error:
        LOGGER.info("base auto: all is trained, for %s", error)
        return _reference(run, None)
    reason = _outlived(run, base, samples, folds, drifting)
    if reason is not None:
        LOGGER.info("base auto: all is trained anew, for %s", reason)
        return _reference(run, None)
    LOGGER.info("base auto: built upon %s", base.facts["run"])
    return base


def _outlived(run: Run, base: Artefact, samples: Artefact, folds: int, drifting: Drifting) -> str | None:
    """Why a run is no base any more; None if it is one."""
    try:
        (before,), (dealt,) = stages_of(run, base, "samples"), stages_of(run, base, "folds")
        found = stages_of(run, base, "drift")
    except (BadArtefact, ValueError) as error:
        return f"the latest run cannot be read: {error}"
    for fact in ("classes", "payload"):
        if samples.facts[fact] != before.facts[fact]:
            return f"the samples' {fact} are others than they were"
    if dealt.facts["folds"] != folds:
        return "there are other folds"
    if drifting.refit_on_drift and any(artefact.facts["alarm"] for artefact in found):
        return "the latest run found a drift"
    age = _days_since(dealt.facts.get("networks_of") or base.facts["run"])
    if drifting.refit_days is not None and age > drifting.refit_days:
        return f"its networks are {age:.1f} days old"
    return None


def _days_since(run_id: str) -> float:
    """How long ago a run began, by its id; for ever, if that does not tell."""
    try:
        began = datetime.strptime(run_id.rsplit("-", 2)[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except (IndexError, ValueError):
        return float("inf")
    return (datetime.now(UTC) - began).total_seconds() / 86400


def networks_of(run: Run, base: Artefact) -> str | None:
    """The run that trained the networks a base hands on; None without a base."""
    folds = stages_of(run, base, "folds")
    return (folds[0].facts.get("networks_of") or base.facts["run"]) if folds else None


def _check_recipe(run: Run, base: Artefact, model: Model, training: Training) -> None:
    path = run.lake / "runs" / base.facts["run"] / "config.yaml"
    try:
        recorded = yaml.safe_load(path.read_text(encoding="utf-8"))
        theirs = ModelChoice.model_validate(recorded["model"]).part, Training.model_validate(recorded["training"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise BadArtefact(
            where=str(path),
            expected="the configuration of a recorded run",
            got=f"{type(error).__name__}: {error}",
            do="Choose another base, or run without one.",
        ) from error
    for name, before, now in (("model", theirs[0], model), ("training", theirs[1], training)):
        old, new = (part.model_dump(mode="json", exclude={"device"}) for part in (before, now))
        changed = {key: (old.get(key), new.get(key)) for key in old | new if old.get(key) != new.get(key)}
        if changed:
            raise BadConfig(
                where=f"option {name}",
                expected=", ".join(f"{key} {was}" for key, (was, _) in changed.items())
                + ", as the base's networks have it",
                got=", ".join(f"{key} {is_now}" for key, (_, is_now) in changed.items()),
                do="Keep the base's options, or run without a base.",
            )


def stages_of(run: Run, base: Artefact, stage: str) -> list[Artefact]:
    """What the base run has of one stage, as its run folder keeps it; nothing where there is no base.

    Raises:
        BadArtefact: the run folder is damaged, or was written by a version that could not be a base.
    """
    run_id = base.facts["run"]
    if run_id is None:
        return []
    path = run.lake / "runs" / run_id / "run.json"
    try:
        stages = json.loads(path.read_text(encoding="utf-8"))["stages"]
        found = [Artefact.model_validate(entry) for entry in stages if entry["stage"] == stage]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadArtefact(
            where=str(path),
            expected="a recorded run with its stages",
            got=f"{type(error).__name__}: {error}",
            do="Choose another base, or run without one.",
        ) from error
    folder = str(path.parent.relative_to(run.lake))
    return [artefact.model_copy(update={"folder": folder}) for artefact in found]


def _reference(run: Run, run_id: str | None) -> Artefact:
    digest = hashlib.sha256(str(run_id).encode()).hexdigest()
    return Artefact(stage="base", folder="", files=(), facts={"run": run_id}, digest=digest, made_by=run.run_id)
