"""Scores to flags: the rule, in SQL (tasks/decision/flag.sql), and what it does to whom (tasks/decision/audit.sql)."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from tasks.core.errors import BadConfig
from tasks.core.plugins import Component
from tasks.core.sql import connect, query, register
from tasks.decision.budgets import BudgetEstimate
from tasks.pipeline.artefacts import Draft
from tasks.pipeline.row_groups import GROUP_ROWS, write_groups
from tasks.pipeline.schemas import AUDIT, FLAGS, SUSPECTS
from tasks.scoring.diagnosis import DIAGNOSES

if TYPE_CHECKING:
    from tasks.core.sql import Source

# Classes that are named in the facts: those that lose most beyond their share.
_MOST_FLAGGED = 3

THIN_FLAGS = ["sample_id", "flag", "rank", "guard", "p_wrong", "suggested_label"]
"""Columns of ``FLAGS`` that are counted."""


class Flagging(Component):
    """How scores become flags."""

    detector: str | None = Field(default=None, description="The detector that decides; default: the first of the list.")
    class_cap: float = Field(default=0.5, gt=0, le=1, description="At most this share of a class's samples is flagged.")
    group_cap: float = Field(
        default=1.0, gt=0, le=1, description="At most this share of a group's samples is flagged; 1 caps none."
    )
    rare: Literal["keep", "list", "off"] = Field(
        default="keep",
        description="A sample far from its class whose own neighbours bear its label and are recognised is kept, or "
        "flagged and only listed, or not looked for.",
    )

    def deciding_detector(self, detectors: list[str]) -> str:
        """The detector that decides, out of those that scored.

        Raises:
            BadConfig: the one named is not among them.
        """
        detector = self.detector or detectors[0]
        if detector not in detectors:
            raise BadConfig(
                where="option flagging.detector",
                expected=f"one of {', '.join(detectors)}",
                got=detector,
                do="Name a detector of the list, or leave it to the first.",
            )
        return detector


def decide(
    scores: Source,
    samples: pa.Table,
    gradients: Source,
    advice: pa.Table,
    count: int,
    options: Flagging,
    model: str = "held-out",
    *,
    suggests: bool = True,
) -> pa.Table:
    """Rank by the deciding detector, flag of the first ``count`` whom no guard keeps, and give every row its reason.

    A rank that a guard frees stays empty: no sample of a lower rank is flagged for it.
    Guards apply in order: rare samples are kept; then at most ``group_cap`` of each group is flagged and, of the
    rest, at most ``class_cap`` of each class. A sample without a group has no group cap; each class keeps one sample.

    Args:
        scores: schema ``scores``, every training sample.
        samples: sample_id, label, group and class (where that is not the label), at least of those samples.
        gradients: the scalars of ``GRADIENTS`` of those samples.
        advice: schema ``ADVICE`` of tasks/decision/guards.py, of those samples.
        count: up to which rank one is flagged.
        options: who decides, and the guards.
        model: what the reasons call the model whose gradients these are: held-out or in-sample.
        suggests: whether it says which label it would give.

    Returns:
        Schema ``FLAGS``, by rank. Its length and order do not depend on the order of any input's rows.
    """
    with duckdb.connect() as db:
        register(db, scores=scores, samples=_with_class(samples), gradients=gradients, advice=advice)
        bound = _bound(db, options, count, model, suggests=suggests)
        return db.sql(query("decision/flag"), params=bound).to_arrow_table().cast(FLAGS)


def write_flags(
    path: Path,
    scores: Source,
    samples: pa.Table,
    gradients: Source,
    advice: pa.Table,
    count: int,
    options: Flagging,
    model: str,
    *,
    suggests: bool,
    room: tuple[Path, int],
) -> None:
    """What ``decide`` decides, beside what identifies each sample to a person, piece by piece into a Parquet file.

    Args:
        path: of the file, schema ``SUSPECTS``, by rank.
        scores: as of ``decide``, like what is not named here.
        samples: source, row and source_id as well.
        room: a scratch folder, and how many bytes the query may hold.
    """
    with connect(*room) as db:
        register(db, scores=scores, samples=_with_class(samples), gradients=gradients, advice=advice)
        bound = _bound(db, options, count, model, suggests=suggests)
        decided = db.sql(
            f"""SELECT decided.*, samples.label, source, "row", "group", source_id
                FROM ({query("decision/flag")}) AS decided JOIN samples USING (sample_id) ORDER BY rank""",
            params=bound,
        )
        write_groups(path, decided.to_arrow_reader(GROUP_ROWS), SUSPECTS)


def _bound(
    db: duckdb.DuckDBPyConnection, options: Flagging, count: int, model: str, *, suggests: bool
) -> dict[str, Any]:
    """What stands for the parameters of the query."""
    detector = options.deciding_detector(db.table("scores").columns[1:])
    guards = options.model_dump(include={"class_cap", "group_cap", "rare"})
    return {"detector": detector, "budget": count, "model": model, "suggests": suggests} | guards


def audit(flags: pa.Table, samples: pa.Table, room: tuple[Path, int] | None = None) -> pa.Table:
    """What flagging does to each class, and to each group where there are any.

    Args:
        flags: of schema ``FLAGS`` what ``THIN_FLAGS`` names.
        samples: sample_id, label, group and class (where that is not the label), at least of those samples.
        room: a scratch folder, and how many bytes the query may hold; by default as much as DuckDB takes.

    Returns:
        Schema ``AUDIT``, by class or group, then by name. Counts of the classes sum to those of ``flags``.
    """
    with duckdb.connect() if room is None else connect(*room) as db:
        register(db, flags=flags, samples=_with_class(samples))
        return db.sql(query("decision/audit")).to_arrow_table().cast(AUDIT)


def _with_class(samples: pa.Table) -> pa.Table:
    return samples if "class" in samples.column_names else samples.append_column("class", samples["label"])


def count_flags(flags: pa.Table, audit_table: pa.Table) -> dict[str, Any]:
    """Counts, the wrong labels expected among the flagged (None where that is not known), and who loses most."""
    flagged = flags.filter(flags["flag"])
    is_known = is_stated(flags["p_wrong"]) and not flagged["p_wrong"].null_count
    classes = audit_table.filter(pc.equal(audit_table["by"], "class")).to_pylist()
    most = sorted((row for row in classes if row["flagged"]), key=lambda row: (-row["lift"], row["name"]))
    columns = ("name", "samples", "flagged", "lift")
    return {
        "flagged": flagged.num_rows,
        "of": flags.num_rows,
        "expected_wrong": (pc.sum(flagged["p_wrong"]).as_py() or 0.0) if is_known else None,
        "capped": sum(row["capped"] for row in classes),
        "protected": sum(row["protected"] for row in classes),
        "unrecognised": pc.sum(pc.equal(flags["guard"], "unrecognised")).as_py() or 0,
        "most_flagged": [{name: row[name] for name in columns} for row in most[:_MOST_FLAGGED]],
    }


def is_stated(chances: pa.ChunkedArray) -> bool:
    """Whether any label is said how likely it is wrong: of a class that is not recognised none is where others are."""
    return chances.null_count < len(chances) or not len(chances)


def write_diagnoses(draft: Draft, diagnoses: list[dict[str, Any]]) -> None:
    """``diagnoses.parquet``, schema ``DIAGNOSES``; no file of a run without canaries, which diagnoses nothing."""
    if diagnoses:
        table = pa.Table.from_pylist(diagnoses, schema=DIAGNOSES)
        pq.write_table(table, draft.path("diagnoses.parquet", table.num_rows), compression="zstd")


def flagged_of(flags: pa.Table, ids: pa.Array) -> np.ndarray:
    """Whether each of the samples ``ids`` is flagged, in their order."""
    flagged = flags.filter(flags["flag"])["sample_id"].combine_chunks()
    return pc.is_in(ids, value_set=flagged).to_numpy(zero_copy_only=False)


def reviewed_estimate(estimate: dict[str, Any], before: pa.Table, after: pa.Table) -> dict[str, Any]:
    """What a budget states, as it is true after a review: of other samples than those that the rule flagged, less.

    Args:
        estimate: ``BudgetEstimate`` of tasks/decision/budgets, as the facts have it.
        before: the flags by rule, schema ``FLAGS`` at least.
        after: the same as a person wants them.
    """
    was, now = (flagged_of(flags, before["sample_id"].combine_chunks()) for flags in (before, after))
    if (was == now).all():
        return estimate
    why = f"a person decided otherwise about {int((was != now).sum()):,}"
    return BudgetEstimate.model_validate(estimate).without_rates(why).model_dump(mode="json")


def reviewed_flags(
    flags: pa.Table, rows: pa.Table, reviewer: str, note: str, at: str, *, removes: bool = False
) -> pa.Table:
    """Flags as a person wants them (tasks/decision/review.sql).

    Args:
        flags: schema ``SUSPECTS``.
        rows: sample_id, flag, new_label and remedy of the samples that were decided about.
        reviewer: who decided.
        note: why, in the person's words.
        at: when, UTC.
        removes: whether the flagged that nobody relabels are removed, whatever is suggested.

    Returns:
        Schema ``SUSPECTS``, by rank.
    """
    with duckdb.connect() as db:
        db.register("flags", flags)
        db.register("rows", rows)
        bound = {"reviewer": reviewer, "note": note, "at": at, "removes": removes}
        return db.sql(query("decision/review"), params=bound).to_arrow_table().cast(SUSPECTS)
