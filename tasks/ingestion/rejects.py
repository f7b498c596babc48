"""Rows that are no samples: counted by reason, kept with it, and too many of them stop a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.errors import TooManyRejects
from tasks.pipeline.artefacts import Run
from tasks.pipeline.durable_files import fsync
from tasks.pipeline.schemas import REJECTS

NO_LABEL_REASON = "missing label"
UNHEARD = "class not in train"
# Rows without a label, or with one that nothing is trained on, are left out and told; where most are so, the column of
# labels is another.
_UNLABELLED = 0.5


def check_share(run: Run, rejects: list[dict[str, Any]], read: int, limit: float) -> None:
    """Stop a run that would go on with what is left of a broken source.

    A row without a label is not broken, nor a held-out one of a class that is not trained on: of those there may be up
    to half, unless no reject at all is allowed.

    Raises:
        TooManyRejects: more than ``limit`` of the ``read`` rows; all of them then stand in a file of their own.
    """
    unlabelled = sum(reject["reason"] in (NO_LABEL_REASON, UNHEARD) for reject in rejects)
    if len(rejects) - unlabelled <= limit * read and unlabelled <= max(limit, _UNLABELLED if limit else 0) * read:
        return
    path = run.lake / "rejected" / f"{run.run_id}.parquet"
    path.parent.mkdir(exist_ok=True)
    write_rejects(rejects, path)
    fsync(path)
    reasons = ", ".join(f"{reason} {n:,}" for reason, n in by_reason(rejects).items())
    raise TooManyRejects(
        where=str(path),
        expected=f"at most {limit:.1%} of {read:,} rows to be rejected",
        got=f"{len(rejects):,} ({len(rejects) / max(read, 1):.1%}): {reasons}",
        do="Every rejected row stands there with its reason. Correct the source, or raise --ingestion.max-rejects.",
    )


def by_reason(rejects: list[dict[str, Any]]) -> dict[str, int]:
    """Rejected rows by reason, most first."""
    counts: dict[str, int] = {}
    for reject in rejects:
        counts[reject["reason"]] = counts.get(reject["reason"], 0) + 1
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def write_rejects(rejects: list[dict[str, Any]], path: Path) -> None:
    """Write schema ``REJECTS``, by source and row."""
    rows = sorted(rejects, key=lambda reject: (reject["source"], reject["row"] if reject["row"] is not None else -1))
    pq.write_table(pa.Table.from_pylist(rows, schema=REJECTS), path)
