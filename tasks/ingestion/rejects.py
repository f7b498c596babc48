"""Rows that are no samples: counted by reason, kept with it, and too many of them stop a run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.errors import BadInput, TooManyRejects
from tasks.pipeline.artefacts import Run
from tasks.pipeline.durable_files import fsync
from tasks.pipeline.schemas import REJECTS

NO_LABEL_REASON = "missing label"
UNHEARD = "class not in train"
SEEN_ONCE = "class seen once"
TRAINED_ONCE = "class with fewer than two training samples"
CORRECT = "Correct the source, or raise --ingestion.max-rejects."
# Rows without a label, or with one that nothing is trained on, are left out and told; where most are so, the column of
# labels is another.
_UNLABELLED = 0.5


def check_share(run: Run, rejects: list[dict[str, Any]], read: int, limit: float, advice: str = CORRECT) -> None:
    """Stop a run that would go on with what is left of a broken source.

    Args:
        run: whose rejects.
        rejects: rows with their reasons.
        read: rows of the source.
        limit: the share that may be rejected.
        advice: what is to be done if most are rejected for their labels.

    Raises:
        TooManyRejects: more than ``limit`` of the ``read`` rows; all of them then stand in a file of their own.
    """
    if not are_too_many(by_reason(rejects), read, limit):
        return
    path = run.lake / "rejected" / f"{run.run_id}.parquet"
    path.parent.mkdir(exist_ok=True)
    write_rejects(rejects, path)
    fsync(path)
    raise too_many(
        str(path), by_reason(rejects), read, limit, advice, "Every rejected row stands there with its reason. "
    )


def are_too_many(reasons: Mapping[str, int], read: int, limit: float) -> bool:
    """Whether a run would go on with what is left of a broken source.

    A row without a label is not broken, nor a held-out one of a class that is not trained on: of those there may be up
    to half, unless no reject at all is allowed.

    Args:
        reasons: rejected rows by reason.
        read: rows of the source.
        limit: the share that may be rejected.
    """
    unlabelled = sum(reasons.get(reason, 0) for reason in (NO_LABEL_REASON, UNHEARD))
    others = sum(reasons.values()) - unlabelled
    return others > limit * read or unlabelled > max(limit, _UNLABELLED if limit else 0) * read


def too_many(
    where: str, reasons: Mapping[str, int], read: int, limit: float, advice: str, told: str = ""
) -> TooManyRejects:
    """The refusal of a source of which too many rows are rejected.

    Args:
        where: the rejected rows stand, or the source.
        reasons: rejected rows by reason.
        read: rows of the source.
        limit: the share that may be rejected.
        advice: what is to be done if most are rejected for their labels.
        told: before that.
    """
    count = sum(reasons.values())
    is_of_labels = 2 * sum(reasons.get(reason, 0) for reason in (SEEN_ONCE, TRAINED_ONCE)) > count
    return TooManyRejects(
        where=where,
        expected=f"at most {limit:.1%} of {read:,} rows to be rejected",
        got=f"{count:,} ({count / max(read, 1):.1%}): {', '.join(f'{reason} {n:,}' for reason, n in reasons.items())}",
        do=told + (advice if is_of_labels else CORRECT),
    )


def unlearnable(counts: Iterable[tuple[str, int, int]]) -> dict[str, str]:
    """The classes that cannot be learned and checked, each with the reason why its rows are rejected.

    Args:
        counts: class, its training rows, all its rows.
    """
    return {
        label: SEEN_ONCE if total == 1 else UNHEARD if train == 0 else TRAINED_ONCE
        for label, train, total in counts
        if train < 2
    }


def too_few_classes(classes: Sequence[str], read: int, where: str) -> BadInput:
    """The refusal of what is no classification.

    Args:
        classes: that can be learned.
        read: rows read in all.
        where: the source.
    """
    return BadInput(
        where=where,
        expected="at least two classes with two training samples each",
        got=f"{len(classes)} ({', '.join(classes) or 'no usable label'}) in {read:,} rows",
        do="Check the label column and the split column.",
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
