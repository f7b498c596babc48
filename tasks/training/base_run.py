"""An earlier run to build upon: its models and gradients are taken over, and only new samples are worked on."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from tasks.core.errors import BadArtefact, BadConfig
from tasks.core.progress import LOGGER
from tasks.dataset.payload import Payload, payload_of
from tasks.ingestion.extent import Extent
from tasks.ingestion.readers import Reader
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.recorded_run import CONFIG_FILE, RecordedRun, recorded_options, reference, stages_of, ways_to_a_run
from tasks.pipeline.stored_names import inside
from tasks.training.drift_policy import DriftPolicy
from tasks.training.models import ModelChoice
from tasks.training.recipe import Recipe, Training

AUTO = "auto"
"""The latest run where that will do, none where it will not."""

# Stages whose files a run takes over from its base.
_TAKEN_OVER = ("checkpoints", "gradients", "canaries")


class WantedBase(NamedTuple):
    """Which base a run asks for."""

    name: str | None
    """A run's id, ``latest``, ``auto`` or None."""
    dataset: str
    """Whose latest."""
    reader: Reader

    def record(self, run: Run) -> RecordedRun | None:
        """The run it names; None where there is none.

        ``auto`` considers the newest run that read as much of the source and planted the same, which a trial did not.
        What this flow run recorded before it was begun again is no latest: upon it the rest would be another run.
        """
        if self.name is None:
            return None
        if self.name != AUTO:
            return RecordedRun.newest(run.lake, self.name, self.dataset, but=_flow_run())
        extent, own = Extent.of(self.reader), _flow_run()
        runs = [record for record in RecordedRun.all_of(run.lake) if record.dataset == self.dataset]
        runs = [record for record in runs if own is None or record.prefect_run_id != own]
        for record in sorted(runs, key=lambda record: (record.recorded, record.run_id), reverse=True):
            theirs = _extent(run, record.run_id)
            if theirs is None or theirs.equals(extent):
                return record
        return None


def _flow_run() -> str | None:
    """Prefect's id of the flow run that this is; None outside of one."""
    from prefect.runtime import flow_run

    return flow_run.id


def _extent(run: Run, run_id: str) -> Extent | None:
    path = inside(run.lake / "runs", run_id, single=True) / CONFIG_FILE
    return Extent.of_config(path.read_text(encoding="utf-8")) if path.is_file() else None


def base_of(run: Run, name: str | None, dataset: str, recipe: Recipe | None = None) -> Artefact:
    """A reference to the run called ``name``, or to the dataset's ``latest``; to none without a name.

    For ``auto``, which needs the samples to be read first, see ``base_for``.

    Args:
        run: whose lake.
        name: of the base, ``latest``, or None.
        dataset: whose latest.
        recipe: what the base's networks must be and how they must have been trained, if given.

    Raises:
        BadConfig: no such run is recorded, or its networks are others.
    """
    if name is None:
        return reference(run, None)
    base = reference(run, recorded_base(run.lake, name, dataset, but=_flow_run()).run_id)
    if recipe is not None:
        _check_recipe(run, base, recipe)
    return base


def recorded_base(lake: Path, name: str, dataset: str, *, but: str | None = None) -> RecordedRun:
    """The record of a base.

    Args:
        lake: that holds it.
        name: of the run, or ``latest``.
        dataset: whose latest.
        but: a flow run whose own record is no latest.

    Raises:
        BadConfig: no such run is recorded.
    """
    record = RecordedRun.newest(lake, name, dataset, but=but)
    if record is None:
        raise BadConfig(
            where="option base",
            expected=f"a recorded run's id, or latest of the dataset {dataset}",
            got=f"{name}, of which there is none",
            do=f"{ways_to_a_run(lake, name)} The first run of a dataset has no base.",
        )
    return record


def base_for(
    run: Run, wanted: WantedBase, samples: Artefact, folds: int, recipe: Recipe, drift: DriftPolicy
) -> Artefact:
    """What samples are built upon: see ``base_of``; for ``auto`` the latest run if they can and should be, else none.

    The log says which, and why. A trial is passed over by ``auto``.
    """
    if wanted.name != AUTO:
        base = base_of(run, wanted.name, wanted.dataset, recipe)
        _check_tokens(run, base, samples)
        _check_weights(run, base, samples)
        return base
    if RecordedRun.newest(run.lake, "latest", wanted.dataset, but=_flow_run()) is None:
        LOGGER.info("first run of %s: everything is trained; the next run builds upon it", wanted.dataset)
        return reference(run, None)
    try:
        record = wanted.record(run)
        if record is None:
            LOGGER.info("everything is trained: no other run of %s has read as much of its source", wanted.dataset)
            return reference(run, None)
        base = base_of(run, record.run_id, wanted.dataset, recipe)
    except (BadConfig, BadArtefact) as error:
        LOGGER.info("everything is trained anew, because the latest run cannot be built upon: %s", error)
        return reference(run, None)
    reason = _reason_to_refit(run, base, samples, folds, drift)
    if reason is not None:
        LOGGER.info("everything is trained anew, because %s", reason)
        return reference(run, None)
    LOGGER.info("built upon run %s: only new samples are worked on", base.facts["run"])
    return base


def payload_of_base(run: Run, wanted: WantedBase) -> Payload | None:
    """What a base's networks receive, if columns are encoded: its encoders are kept as long as they serve.

    None without a base, and of one without encoders. A base that cannot be read is told by ``base_for``.
    """
    record = wanted.record(run)
    if record is None:
        return None
    try:
        (samples,) = stages_of(run, reference(run, record.run_id), "samples")
    except (BadArtefact, ValueError):
        return None
    payload = payload_of(samples)
    return payload if payload.encoders else None


def _reason_to_refit(run: Run, base: Artefact, samples: Artefact, folds: int, drift: DriftPolicy) -> str | None:
    """Why a run is no base any more; None if it is one."""
    try:
        (before,), (before_folds,) = stages_of(run, base, "samples"), stages_of(run, base, "folds")
        drifts = stages_of(run, base, "drift")
        taken_over = [stage for name in _TAKEN_OVER for stage in stages_of(run, base, name)]
    except (BadArtefact, ValueError) as error:
        return f"the latest run cannot be read: {error}"
    if not all(run.intact(stage) for stage in [before_folds, *taken_over]):
        return "files of the latest run are gone or damaged"
    for fact in ("classes", "payload"):
        if samples.facts[fact] != before.facts[fact]:
            return f"the samples' {fact} are others than they were"
    if _weights_of(samples) != _weights_of(before):
        return f"its networks were trained with {_weights_of(before)}"
    if before_folds.facts["folds"] != folds:
        return "there are other folds"
    if drift.refit_on_drift and any(artefact.facts["alarm"] for artefact in drifts):
        return "the latest run found a drift"
    age = _days_since(before_folds.facts.get("networks_of") or base.facts["run"])
    if drift.refit_days is not None and age > drift.refit_days:
        return f"its networks are {age:.1f} days old"
    return None


def _days_since(run_id: str) -> float:
    """How long ago a run began, by its id; for ever, if that does not tell."""
    try:
        began = datetime.strptime(run_id.rsplit("-", 2)[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    except (IndexError, ValueError):
        return float("inf")
    return (datetime.now(UTC) - began).total_seconds() / 86400


def _check_tokens(run: Run, base: Artefact, samples: Artefact) -> None:
    """Ids that mean other words to the base's networks would be judged without a word of complaint."""
    for before in stages_of(run, base, "samples"):
        if before.facts["payload"].get("tokens") != samples.facts["payload"].get("tokens"):
            raise BadConfig(
                where="option base",
                expected="networks that read text in the tokens of these samples",
                got=f"those of {base.facts['run']}, of another tokenizer, other options of it or an earlier gradsieve",
                do="Run once without a base.",
            )


def _check_weights(run: Run, base: Artefact, samples: Artefact) -> None:
    for before in stages_of(run, base, "samples"):
        if _weights_of(before) != _weights_of(samples):
            raise BadConfig(
                where="option base",
                expected=f"networks that were trained with {_weights_of(samples)}",
                got=f"those of {base.facts['run']}, trained with {_weights_of(before)}",
                do="Keep --reader.weights as the base has it, or run once without a base.",
            )


def _weights_of(samples: Artefact) -> str:
    column = samples.facts.get("weight_column")
    return "no weights" if column is None else f"the weights of column {column!r}"


def _check_recipe(run: Run, base: Artefact, recipe: Recipe) -> None:
    with recorded_options(run.lake, base.facts["run"]) as options:
        theirs = ModelChoice.model_validate(options["model"]).component, Training.model_validate(options["training"])
    for network in stages_of(run, base, "network"):
        if network.facts.get("weights", "") != recipe.model.weights_digest():
            raise BadConfig(
                where="option model",
                expected=f"the pretrained weights that the networks of {base.facts['run']} stand on",
                got="others under the same name: their files have changed",
                do="Run once without a base.",
            )
    for name, before, now in (("model", theirs[0], recipe.model), ("training", theirs[1], recipe.training)):
        old, new = (part.model_dump(mode="json", exclude={"device"}) for part in (before, now))
        changes = {key: (old.get(key), new.get(key)) for key in old | new if old.get(key) != new.get(key)}
        if changes:
            raise BadConfig(
                where=f"option {name}",
                expected=", ".join(f"{key} {was}" for key, (was, _) in changes.items())
                + ", as the base's networks have it",
                got=", ".join(f"{key} {is_now}" for key, (_, is_now) in changes.items()),
                do="Keep the base's options, or run without a base.",
            )
