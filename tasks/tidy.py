"""tidy: a dataset's versions → the same without the old ones, and whether what is current is whole."""

from __future__ import annotations

from tasks.artefacts import Run
from tasks.maintenance import MaintainConfig
from tasks.step import act
from tasks.versions.history import CURRENT, History


@act("tidy {history.dataset}")
def tidy(run: Run, history: History, config: MaintainConfig) -> list[str]:
    """Clear away and verify as configured; lines that say what was done.

    Raises:
        BadArtefact: a digest of the current version is not as it was recorded.
    """
    from tasks.errors import BadArtefact
    from tasks.versions.integrity import checks
    from tasks.versions.mirror import mirrored
    from tasks.versions.vacuum import clear, clearance

    found = clearance(history, run.lake, config.keep, config.grace_hours)
    gone = found if config.dry_run else clear(history, run.lake, found)
    mirrored(history, run.lake)
    names = ", ".join(manifest.version for manifest in gone.versions) or "no version"
    lines = [f"{history.dataset}: {names}, {gone.size / 1e6:,.1f} MB {'would go' if config.dry_run else 'are gone'}"]
    current = history.tagged(CURRENT)
    if config.verify and current is not None:
        looked_at = list(checks(history, history.resolve(CURRENT), run.lake))
        wrong = [f"{check.what}: {check.detail}" for check in looked_at if check.state == "wrong"]
        if wrong:
            raise BadArtefact(
                where=f"{history.dataset} {current}",
                expected="every digest as it was recorded",
                got="; ".join(wrong),
                do="Restore what is named from a copy, or roll back to a version that is whole.",
            )
        lines.append(f"{history.dataset}: {current}, which is current, is whole ({len(looked_at)} checks)")
    return lines
