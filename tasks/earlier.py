"""An earlier run to build upon: its models and gradients are taken over, and only new samples are worked on."""

from __future__ import annotations

import hashlib
import json

from tasks.artefacts import Artefact, Run
from tasks.errors import BadArtefact, BadConfig


def base_of(run: Run, name: str | None, dataset: str) -> Artefact:
    """A reference to the run called ``name``, or to the dataset's ``latest``; to none without a name.

    Raises:
        BadConfig: no such run is recorded.
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
    return _reference(run, max(recorded)[1])


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
