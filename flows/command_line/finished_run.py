"""What a person decides about the flagged samples of a finished run: kept, and the run done anew with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from flows.command_line.foreground import foreground, prepare_prefect
from flows.command_line.random_review import run_called
from flows.imports import imports
from flows.recorded_config import recorded_config
from tasks.core.errors import BadConfig, BadInput
from tasks.pipeline.recorded_run import RecordedRun

if TYPE_CHECKING:
    from tasks.config import CleanConfig
    from tasks.decision.review_sheet import Answer


def decide(lake: Path, name: str, answer: Answer, sheet: Path | None) -> str:
    """Keep the answer for just the flags of a run, and run its configuration again; what that says.

    All up to the flags is there already. The decision, the proof and the version are made anew.

    Args:
        lake: of the run.
        name: of the run, or latest.
        answer: what is decided; rows stand in the sheet.
        sheet: an edited one, where rows are decided.

    Raises:
        BadConfig: rows without a sheet, or a sheet without rows.
        BadInput: no such run, or a sheet that cannot be taken at its word.
    """
    import pyarrow.parquet as pq

    from tasks.dataset.targets import target_of
    from tasks.decision.review_sheet import keep_answer, read_sheet
    from tasks.pipeline.artefacts import Run

    if (answer.decision == "rows") != (sheet is not None):
        raise BadConfig(
            where="option sheet",
            expected="a sheet where rows are decided, and none otherwise",
            got=f"{answer.decision} {'without' if sheet is None else 'with'} one",
            do=f"gradsieve review {name} rows --sheet FILE; the page of the run saves it.",
        )
    recorded = run_called(lake, name)
    digest = _flags_by_rule(recorded)
    rows = None
    if sheet is not None:
        (made,) = recorded.of("flags")
        file = next(file for file in made.files if file.name == "flags.parquet")
        flags = pq.read_table(Run(lake=lake, run_id=recorded.run_id).path(made, file))
        rows = read_sheet(sheet, flags, target_of(recorded.of("samples")[0]))
    keep_answer(lake, digest, answer, rows)
    return _run_again(_configuration(lake, recorded, digest))


def _flags_by_rule(recorded: RecordedRun) -> str:
    """The digest of the flags before anybody decided about them.

    Raises:
        BadInput: the run was reviewed by a version that did not keep it.
    """
    review = recorded.facts["flags"].get("review")
    digest = recorded.of("flags")[0].digest if review is None else review.get("of")
    if digest is None:
        raise BadInput(
            where=f"run {recorded.run_id}",
            expected="a run that says which flags were reviewed",
            got="one of an earlier version, which did not",
            do="Run its configuration again with gradsieve clean, and decide about that run.",
        )
    return digest


def _configuration(lake: Path, recorded: RecordedRun, digest: str) -> CleanConfig:
    """That of the run, upon what it was built upon, with the decision in place of a question."""
    from tasks.decision.review_sheet import Review

    config = recorded_config(lake, recorded.run_id)
    review = Review(required=True, hours=config.review.hours, decided=digest)
    # Its dataset's name may come from the source's; that the lake was moved does not matter.
    changes = {
        "lake": lake,
        "dataset": recorded.dataset,
        "review": review,
        "base": _base_of(lake, recorded, config.base),
    }
    return config.model_copy(update=changes)


def _base_of(lake: Path, recorded: RecordedRun, name: str | None) -> str | None:
    """What the run was built upon: the one of that name, or the newest there was; None where it was upon none."""
    from tasks.training.base_run import AUTO

    if name not in (None, "latest", AUTO):
        return name
    if recorded.facts["folds"].get("networks_of") is None:
        return None
    earlier = (run for run in RecordedRun.all_of(lake) if run.dataset == recorded.dataset)
    earlier = [run for run in earlier if run.recorded < recorded.recorded]
    return max(earlier, key=lambda run: (run.recorded, run.run_id)).run_id if earlier else None


def _run_again(config: CleanConfig) -> str:
    prepare_prefect(config.lake, verbose=False)
    with imports():
        from flows.command_line.own_server import ServerOfRun

        server = ServerOfRun()
        from flows.clean import clean

    with foreground(verbose=False):
        return server.call(lambda: clean(config))
