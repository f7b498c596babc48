"""A recorded run, as its folder in the lake keeps it: the one reader of run.json."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from tasks.core.errors import BadArtefact, BadInput
from tasks.pipeline.artefacts import MANIFEST, Artefact, Run
from tasks.pipeline.run_documents import check_document
from tasks.pipeline.stored_names import inside, is_name

RUN_FILE, CONFIG_FILE = "run.json", "config.yaml"


class RecordedRun(BaseModel):
    """What a run leaves of itself besides its tables."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    run_id: str
    dataset: str
    recorded: str
    """When it was recorded, ISO 8601, UTC."""
    prefect_run_id: str | None = None
    """Prefect's own id of the flow run that recorded it."""
    facts: dict[str, dict[str, Any]]
    """The facts of the stages that a run has one of, by stage."""
    stages: tuple[Artefact, ...]

    @classmethod
    def read(cls, lake: Path, run_id: str) -> RecordedRun:
        """The run called ``run_id``.

        Raises:
            BadInput: there is no run of that name.
            BadArtefact: its folder is damaged, or was written by a version that cannot be read.
        """
        path = lake / "runs" / run_id / RUN_FILE
        if not is_name(run_id) or not path.is_file():
            raise no_run(lake, run_id)
        return cls.of_file(path)

    @classmethod
    def of_file(cls, path: Path) -> RecordedRun:
        """The run whose run.json this is.

        Raises:
            BadArtefact: it is damaged, or was written by a version that cannot be read.
        """
        check_document(path, path.with_name(MANIFEST))
        try:
            return cls.model_validate_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise BadArtefact(
                where=str(path),
                expected="a recorded run with its stages",
                got=f"{type(error).__name__}: {error}",
                do="Choose another run, or run again.",
            ) from error

    @classmethod
    def all_of(cls, lake: Path) -> Iterator[RecordedRun]:
        """Every run of a lake, in the order of their ids."""
        for path in sorted((lake / "runs").glob(f"[!.]*/{RUN_FILE}")):
            yield cls.of_file(path)

    @classmethod
    def newest(cls, lake: Path, name: str, dataset: str, *, but: str | None = None) -> RecordedRun | None:
        """The run called ``name``; for ``latest`` the newest of ``dataset``; None where there is none.

        Args:
            lake: that holds it.
            name: of the run, or ``latest``.
            dataset: whose latest.
            but: a flow run, by Prefect's id: what that recorded is not the latest of its own.
        """

        def is_meant(run: RecordedRun) -> bool:
            is_own = but is not None and run.prefect_run_id == but
            return run.run_id == name or (name == "latest" and run.dataset == dataset and not is_own)

        runs = [run for run in cls.all_of(lake) if is_meant(run)]
        return max(runs, key=lambda run: (run.recorded, run.run_id), default=None)

    def of(self, stage: str) -> list[Artefact]:
        """The artefacts of one stage, their files in the run's own folder."""
        folder = f"runs/{self.run_id}"
        return [artefact.model_copy(update={"folder": folder}) for artefact in self.stages if artefact.stage == stage]


def no_run(lake: Path, name: str) -> BadInput:
    """What to raise where a lake, as an absolute path, has no run called ``name``."""
    return BadInput(
        where=str(lake / "runs"), expected=f"a run {name!r}", got="none of that name", do=ways_to_a_run(lake, name)
    )


def ways_to_a_run(lake: Path, name: str) -> str:
    """What to do where no run is called ``name``; where a dataset is called so, its newest run as one types it."""
    try:
        newest = RecordedRun.newest(lake, "latest", name)
    except BadArtefact:  # which is newest cannot be told, and the damage of another run is no answer to this question
        newest = None
    if newest is None:
        return "See gradsieve runs."
    command = f"gradsieve show {shlex.quote(newest.run_id)}{lake_option(lake)}"
    return f"It is the name of a dataset, whose newest run is shown by {command}; gradsieve runs lists all."


def lake_option(lake: Path) -> str:
    """What a command says to find a lake; nothing where it is the usual one."""
    return "" if lake == Path("data").resolve() else f" --lake {shlex.quote(str(lake))}"


@contextmanager
def recorded_options(lake: Path, run_id: str) -> Iterator[Any]:
    """The options that a recorded run was made with, for whoever makes something of them.

    Raises:
        BadArtefact: they cannot be read, or nothing can be made of them; or the id leads out of the lake.
    """
    import yaml

    path = inside(lake / "runs", run_id, single=True) / CONFIG_FILE
    check_document(path, path.with_name(MANIFEST))
    try:
        yield yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise BadArtefact(
            where=str(path),
            expected="the configuration of a recorded run",
            got=f"{type(error).__name__}: {error}",
            do="Choose another run; where it is a base, run without --base.",
        ) from error


def reference(run: Run, run_id: str | None) -> Artefact:
    """A reference to a recorded run that this one builds on; to none where ``run_id`` is None."""
    digest = hashlib.sha256(str(run_id).encode()).hexdigest()
    return Artefact(stage="base", folder="", files=(), facts={"run": run_id}, digest=digest, made_by=run.run_id)


def stages_of(run: Run, base: Artefact, stage: str) -> list[Artefact]:
    """The artefacts of one stage of the base run; none where there is no base.

    Raises:
        BadArtefact: the run folder is damaged, or was written by a version that could not be a base.
    """
    run_id = base.facts["run"]
    return (
        []
        if run_id is None
        else RecordedRun.of_file(inside(run.lake / "runs", run_id, single=True) / RUN_FILE).of(stage)
    )


def networks_of(run: Run, base: Artefact) -> str | None:
    """The id of the run that trained the networks of a base; None without a base."""
    folds = stages_of(run, base, "folds")
    return (folds[0].facts.get("networks_of") or base.facts["run"]) if folds else None
