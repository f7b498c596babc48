"""Which tag a version gets: by its verdict, and by what its run was for."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from tasks.ingestion.extent import Extent
from tasks.versions.history import CANDIDATE, CURRENT, History
from tasks.versions.manifest import Manifest

Promotion = Annotated[
    Literal["auto", "gate", "candidate", "none"],
    Field(
        description="gate: the version is current if its verdict says so, else candidate. auto: the same, but a trial, "
        "whose reader.limit or reader.noise are others than those of the version that current names, is a candidate. "
        "candidate: never current. none: no tag is moved."
    ),
]


def move_tags(history: History, version: str, verdict: dict[str, Any], by: str, promotion: Promotion = "gate") -> str:
    """Move ``current`` to a version that has proven itself, or ``candidate`` to one that has not; says which, and why.

    ``current`` never goes back to an older version by itself: only a person does that, by a rollback.
    """
    number = int(version[1:])
    restraint = _restraint(history, history.manifest(number), promotion)
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


def _restraint(history: History, manifest: Manifest, promotion: Promotion) -> list[str]:
    """Why a version is not promoted whatever its verdict, as sentences; empty where the verdict decides."""
    current = history.version_of(CURRENT)
    if promotion == "candidate":
        return ["By --promotion candidate nothing is promoted."]
    if promotion != "auto" or current is None:
        return []
    extents = Extent.of_config(manifest.config), Extent.of_config(history.manifest(int(current[1:])).config)
    reasons = extents[0].as_trial_of(extents[1]) if extents[0] and extents[1] else []
    if not reasons:
        return []
    return [f"It is a trial beside {current}: {'; '.join(reasons)}. --promotion gate promotes it by its verdict."]
