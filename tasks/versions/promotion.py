"""Which tag a version gets: by its verdict, and by what its run was for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.ingestion.extent import Extent
from tasks.versions.history import History
from tasks.versions.tag_names import CANDIDATE, CURRENT

Promotion = Annotated[
    Literal["auto", "gate", "candidate", "none"],
    Field(
        description="gate: the version is current if its verdict says so, else candidate. auto: the same, but a trial, "
        "whose reader.limit or reader.noise are others than those of the version that current names, or than the "
        "reader's own where nothing is current yet, is a candidate. "
        "candidate: never current. none: no tag is moved."
    ),
]


def move_tags(history: History, version: str, verdict: dict[str, Any], by: str, promotion: Promotion = "gate") -> str:
    """Move ``current`` to a version that has proven itself, or ``candidate`` to one that has not; says which, and why.

    ``current`` never goes back to an older version by itself: only a person does that, by a rollback.
    """
    number = int(version[1:])
    restraint = restraint_of(history, history.manifest(number).config, promotion)
    reason = " ".join([*verdict["because"], *restraint])

    def newer(there: str | None) -> bool:
        return there is not None and int(there[1:]) >= number

    if promotion == "none":
        return f"{version} has no tag, as --promotion none says; current is {_current(history)}"
    if restraint or not verdict["promote"]:
        history.move(CANDIDATE, version, by, reason, unless=newer)
        summary = f"{version} stays a candidate; current is {_current(history)}"
        return ". ".join([summary, *restraint])
    history.move(CURRENT, version, by, reason, unless=newer)
    there = history.version_of(CURRENT)
    # A candidate older than what is promoted has been overtaken.
    history.move(
        CANDIDATE, None, by, f"{version} was promoted", unless=lambda tag: tag is None or int(tag[1:]) > number
    )
    return f"{version} is current" if there == version else f"current stays {there}, which is newer than {version}"


def _current(history: History) -> str:
    return history.version_of(CURRENT) or "nothing yet"


def restraint_of(history: History, config: str | None, promotion: Promotion) -> list[str]:
    """Why a version of a run is not promoted whatever its verdict, as sentences; empty where the verdict decides.

    Args:
        history: of the dataset.
        config: of the run, as its manifest holds it; one that does not tell what it read is no trial.
        promotion: of the run.
    """
    if promotion == "candidate":
        return ["By --promotion candidate nothing is promoted."]
    extent, current = Extent.of_config(config), history.version_of(CURRENT)
    if promotion != "auto" or extent is None:
        return []
    beside = None if current is None else Extent.of_config(history.manifest(int(current[1:])).config)
    reasons = [] if current is not None and beside is None else extent.as_trial_of(beside)
    if not reasons:
        return []
    which = "a trial" if current is None else f"a trial beside {current}"
    return [f"It is {which}: {'; '.join(reasons)}. --promotion gate promotes it by its verdict."]
