"""verify_runs: a lake → whether every file of its runs is as it was written."""

from __future__ import annotations

from tasks.pipeline.artefacts import Run
from tasks.pipeline.step import act
from tasks.versions.maintenance import MaintainConfig


@act("verify runs")
def verify_runs(run: Run, config: MaintainConfig) -> list[str]:
    """Read every run's files again, where maintenance verifies; a line that says how many there are.

    Raises:
        BadArtefact: a file is not what was written.
    """
    from tasks.core.errors import BadArtefact
    from tasks.versions.run_checks import run_checks

    checks = list(run_checks(run.lake, config.dataset)) if config.verify else []
    wrong = [f"{check.what}: {check.detail}" for check in checks if check.state == "wrong"]
    more = [f"and {len(wrong) - 5:,} more, which gradsieve versions verify names"] if len(wrong) > 5 else []
    if wrong:
        raise BadArtefact(
            where=str(run.lake),
            expected="every file of a run as it was written",
            got="; ".join(wrong[:5] + more),
            do="Restore what is named from a copy, and take away what is not of it; or delete that folder and run "
            "again: it is recorded anew.",
        )
    cleared = sum(check.state == "unknown" for check in checks)
    about = f"; large files of {cleared:,} were cleared away" if cleared else ""
    return [f"{len(checks):,} runs are whole, with what is made of them{about}"] if checks else []
