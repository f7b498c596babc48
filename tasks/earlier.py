"""An earlier run to build upon: its models and gradients are taken over, and only new samples are worked on."""

from __future__ import annotations

import hashlib
import json

import yaml

from tasks.artefacts import Artefact, Run
from tasks.errors import BadArtefact, BadConfig
from tasks.fitting import Training
from tasks.models import Model, ModelChoice


def base_of(
    run: Run, name: str | None, dataset: str, model: Model | None = None, training: Training | None = None
) -> Artefact:
    """A reference to the run called ``name``, or to the dataset's ``latest``; to none without a name.

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
