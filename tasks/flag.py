"""flag: samples + scores → flags.parquet, decided in SQL (tasks/queries/flag.sql)."""

from __future__ import annotations

from pydantic import Field

from tasks.artefacts import Artefact, Run
from tasks.budgets import Budget
from tasks.errors import BadConfig
from tasks.parts import Part
from tasks.queries import query
from tasks.step import step


class Flagging(Part):
    """How scores become flags."""

    detector: str | None = Field(None, description="The detector that decides; default: the first of the list.")
    class_cap: float = Field(0.5, gt=0, le=1, description="At most this share of a class's samples is flagged.")


@step("flag")
def flag(
    run: Run, samples: Artefact, gradients: list[Artefact], scores: Artefact, budget: Budget, options: Flagging
) -> Artefact:
    """Rank by the deciding detector, flag up to the budget, empty no class, and give every row its reason.

    Raises:
        BadConfig: the deciding detector was not among those that scored.
    """
    import duckdb
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    from tasks.samples import table_of
    from tasks.schemas import FLAGS

    detector = options.detector or scores.facts["detectors"][0]
    if detector not in scores.facts["detectors"]:
        raise BadConfig(
            where="option flagging.detector",
            expected=f"one of {', '.join(scores.facts['detectors'])}",
            got=detector,
            do="Name a detector of the list, or leave it to the first.",
        )
    table = pq.read_table(run.path(scores))
    count = budget.count(table[detector].to_numpy())
    with duckdb.connect() as db:
        db.register("scores", table)
        db.register("samples", table_of(run, samples, ["sample_id", "label"]))
        db.register("gradients", ds.dataset([str(p) for g in gradients for p in run.paths(g, ".parquet")]))
        bound = {"detector": detector, "budget": count, "marked": count, "class_cap": options.class_cap}
        flags = db.sql(query("flag"), params=bound).to_arrow_table().cast(FLAGS)
    with run.draft("flags") as draft:
        pq.write_table(flags, draft.path("flags.parquet", flags.num_rows), compression="zstd")
        flagged = sum(flags["flag"].to_pylist())
        return draft.commit(detector=detector, budget=count, flagged=flagged, of=flags.num_rows)
