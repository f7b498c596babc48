"""index: the lake → an up-to-date catalogue."""

from __future__ import annotations

from prefect import task

from tasks.artefacts import Artefact, Run


@task(name="index", task_run_name="index")
def index(run: Run, recorded: Artefact) -> bool:  # noqa: ARG001  after the run is recorded, not before
    """Rebuild ``catalogue.duckdb`` if what it should say has changed; True when it was."""
    from tasks.catalogue import build

    return build(run.lake)
