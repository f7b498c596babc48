"""Scores to flags: the rule, in SQL (tasks/queries/flag.sql)."""

from __future__ import annotations

import duckdb
import pyarrow as pa
from pydantic import Field

from tasks.errors import BadConfig
from tasks.parts import Part
from tasks.queries import query
from tasks.schemas import FLAGS


class Flagging(Part):
    """How scores become flags."""

    detector: str | None = Field(default=None, description="The detector that decides; default: the first of the list.")
    class_cap: float = Field(default=0.5, gt=0, le=1, description="At most this share of a class's samples is flagged.")

    def deciding(self, detectors: list[str]) -> str:
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
    scores: pa.Table, samples: pa.Table, gradients: pa.Table, count: int, options: Flagging, model: str = "held-out"
) -> pa.Table:
    """Rank by the deciding detector, flag up to the budget, empty no class, and give every row its reason.

    Args:
        scores: schema ``scores``, every training sample.
        samples: sample_id and label, at least of those samples.
        gradients: the scalars of ``GRADIENTS`` of those samples.
        count: how many are flagged at most.
        options: who decides, and the cap by class.
        model: what the reasons call the model whose gradients these are: held-out or in-sample.

    Returns:
        Schema ``FLAGS``, by rank. Its length and order do not depend on the order of any input's rows.
    """
    detector = options.deciding(scores.column_names[1:])
    bound = {"detector": detector, "budget": count, "class_cap": options.class_cap, "model": model}
    with duckdb.connect() as db:
        for name, table in {"scores": scores, "samples": samples, "gradients": gradients}.items():
            db.register(name, table)
        return db.sql(query("flag"), params=bound).to_arrow_table().cast(FLAGS)
