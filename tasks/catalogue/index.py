"""index: the lake → an up-to-date catalogue."""

from __future__ import annotations

from typing import Any

from prefect import task

from tasks.pipeline.artefacts import Run


@task(name="index", task_run_name="index")
def index(run: Run, after: Any) -> bool:  # noqa: ARG001  what must be there before
    """Rebuild ``catalogue.duckdb`` if what it should say has changed; True when it was."""
    from tasks.catalogue.database import build

    return build(run.lake)
