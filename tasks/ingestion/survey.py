"""Between the passes of ingest: what only the whole dataset can tell, asked in SQL of the spool's thin columns."""

from __future__ import annotations

import math
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa

from tasks.dataset.targets import Target, TargetKind
from tasks.dataset.targets.labels import labels_from
from tasks.dataset.targets.number import number_from
from tasks.dataset.targets.response import Response
from tasks.ingestion.label_advice import label_advice
from tasks.ingestion.rejects import CORRECT, UNHEARD, too_few_classes, unlearnable
from tasks.ingestion.spool import Spool


class Survey:
    """Labels, duplicates and rejects of the whole spool."""

    def __init__(self) -> None:
        self.target = Target(classes=())
        self.pool: list[str] = []
        """The different labels of the training samples, sorted, where they are no classes."""
        self.untested: list[str] = []
        """Classes of which no sample is for testing, where any is: how they fare nobody will know."""
        self.untrained: list[str] = []
        """Classes that only held-out samples are of, which are left out."""
        self.duplicates = 0
        self.leak_count = 0
        self.copies: dict[int, int] = {}
        """Position in the spool → which copy of its content it is (1, 2 …); originals are not listed."""
        self.dropped: set[int] = set()
        self.rejects: list[dict[str, Any]] = []
        self.advice = CORRECT
        """What is to be done where too many are rejected for their labels."""

    def names(self, first: int, contents: list[str]) -> list[str]:
        """Final ids of consecutive rows of the spool, ``first`` the first one's position: a copy's carries its number.

        Args:
            first: position of the first row.
            contents: the rows' content hashes.
        """
        return [
            f"{content}-{self.copies[index]}" if index in self.copies else content
            for index, content in enumerate(contents, first)
        ]

    def keep_mask(self, first: int, rows: int) -> np.ndarray:
        """Which of ``rows`` consecutive rows from position ``first`` stay: not those of classes nobody can learn."""
        return np.array([index not in self.dropped for index in range(first, first + rows)], bool)


def check_classes(survey: Survey, read: int, where: str) -> None:
    """Refuse what is no classification.

    Args:
        survey: of the whole spool.
        read: rows read in all, for the message.
        where: the source, for the message.

    Raises:
        BadInput: fewer than two classes to tell apart.
    """
    classes = survey.target.classes
    if survey.target.kind == "class" and len(classes) < 2:
        raise too_few_classes(classes, read, where)


def survey_of(spool: Spool, kind: TargetKind = "class", separator: str = "|", where: str = "the source") -> Survey:
    """Labels, duplicates and late rejects of a spool, as the first pass wrote it.

    Args:
        spool: the rows, with their splits.
        kind: what its labels say.
        separator: between the labels of a set.
        where: the source, for messages.

    Raises:
        BadInput: nothing can be learned from such labels.
    """
    survey = Survey()
    with spool.connect() as db:
        if kind == "class":
            _ask_classes(db, survey)
        else:
            counts = db.execute(
                "SELECT label, count(*) FROM spool WHERE split = 'train' GROUP BY label ORDER BY label"
            ).fetchall()
            survey.pool = [label for label, _ in counts]
            survey.target = _target(dict(counts), kind, separator, where)
            if kind == "labels":
                _ask_held_out(db, survey)
        if not spool.drawn.has_copies:
            return survey
        db.register("dropped", pa.table({"place": pa.array(sorted(survey.dropped), pa.int64())}))
        # Copies are numbered by what they say, not by where they stand, so that row order names nothing.
        copies = db.execute(
            """SELECT place,
                      row_number() OVER (PARTITION BY sample_id ORDER BY split DESC, label, source, "row") - 1 AS nth
               FROM spool WHERE place NOT IN (SELECT place FROM dropped) QUALIFY nth > 0"""
        ).fetchall()
        survey.copies = dict(copies)
        survey.duplicates = len(copies)
        # Equal rows of a table of few combinations of values are repeats: each split has its own of them.
        survey.leak_count = (
            0
            if spool.drawn.are_repeats
            else db.execute(
                """SELECT count(*) FROM (FROM spool SELECT sample_id GROUP BY sample_id
               HAVING count(*) FILTER (split = 'train') > 0 AND count(*) FILTER (split <> 'train') > 0)"""
            ).fetchall()[0][0]
        )
    return survey


def _target(counts: dict[str, int], kind: TargetKind, separator: str, where: str) -> Target:
    if kind == "number":
        return number_from(np.repeat(np.array(list(counts), np.float64), list(counts.values())), where)
    if kind == "labels":
        return labels_from(counts, separator, where)
    return Response(classes=("response",))


def _ask_classes(db: duckdb.DuckDBPyConnection, survey: Survey) -> None:
    """The classes that can be learned, and the rows of those that cannot."""
    by_label = "SELECT label, count(*) FILTER (split = 'train'), count(*) FROM spool GROUP BY label"
    counts = db.execute(by_label).fetchall()
    reasons = unlearnable(counts)
    unheard = {label: reason for label, reason in reasons.items() if reason == UNHEARD}
    unlearned = {label: reason for label, reason in reasons.items() if reason != UNHEARD}
    survey.advice = label_advice({label: total for label, _, total in counts})
    learnable = sorted((label for label, train, _ in counts if train >= 2), key=_class_order)
    survey.target = Target(classes=tuple(learnable))
    survey.untested, survey.untrained = _untested(db, learnable), sorted(unheard)
    detail = "class {!r} cannot be learned from one sample and checked on another"
    _drop(db, survey, unlearned, detail)
    _drop(db, survey, unheard, "no training sample is of class {!r}")


def _untested(db: duckdb.DuckDBPyConnection, classes: list[str]) -> list[str]:
    """Classes without a test sample, if there are test samples at all."""
    tested = {label for (label,) in db.execute("SELECT DISTINCT label FROM spool WHERE split = 'test'").fetchall()}
    return [label for label in classes if label not in tested] if tested else []


def _ask_held_out(db: duckdb.DuckDBPyConnection, survey: Survey) -> None:
    """The held-out rows whose set of labels no network can give, for it knows nothing of one of them."""
    labels = [label for (label,) in db.execute("SELECT DISTINCT label FROM spool WHERE split <> 'train'").fetchall()]
    unheard = {label: "label without training samples" for label in labels if survey.target.read(label) is None}
    _drop(db, survey, unheard, "no training sample has all labels of {!r}")


def _drop(db: duckdb.DuckDBPyConnection, survey: Survey, labels: dict[str, str], detail: str) -> None:
    """Reject all rows of ``labels``, for the reason that stands there."""
    if not labels:
        return
    for index, source, row, label in db.execute(
        'SELECT place, source, "row", label FROM spool WHERE list_contains($1, label) ORDER BY place', [list(labels)]
    ).fetchall():
        survey.dropped.add(index)
        reject = {"source": source, "row": row, "reason": labels[label], "detail": detail.format(label)}
        survey.rejects.append(reject)


def _class_order(label: str) -> tuple[int, float, str]:
    """Numbers in their own order before text in its."""
    try:
        number = float(label)
    except ValueError:
        return (1, 0.0, label)
    return (0, number, label) if math.isfinite(number) else (1, 0.0, label)
