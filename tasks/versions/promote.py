"""promote: a published version → the tag it has earned."""

from __future__ import annotations

from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import act
from tasks.versions.history import History
from tasks.versions.promotion import Promotion


@act("promote {history.dataset}")
def promote(run: Run, history: History, version: Artefact, metrics: Artefact, promotion: Promotion) -> str:
    """Move ``current`` to the version if its verification says so, else ``candidate``; which of them, in words.

    Then the lake shows what there is, wherever it lies.
    """
    from tasks.versions.mirror import mirror_now
    from tasks.versions.promotion import move_tags

    summary = move_tags(history, version.facts["version"], metrics.facts["verdict"], "run", promotion)
    mirror_now(history, run.lake)
    return summary
