"""flag: samples + scores + evidence → flags.parquet and audit.parquet, decided in SQL."""

from __future__ import annotations

from tasks.dataset.samples import classed, table_of
from tasks.decision.budgets import Budget
from tasks.decision.flagging import Flagging, audit, counted, decide, described, flagged_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.schemas import GRADIENTS
from tasks.pipeline.step import step
from tasks.scoring.crossfit import CrossFit


@step("flag")
def flag(
    run: Run,
    crossfit: CrossFit,
    scores: Artefact,
    budget: Budget,
    options: Flagging,
) -> Artefact:
    """Decide which training samples are flagged, and why; say what that does to each class and group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks.decision.guards import advised
    from tasks.decision.ranking import ranking_of
    from tasks.scoring.evidence import Evidence

    detector = options.deciding(scores.facts["detectors"])
    evidence = Evidence(run, crossfit)
    table = pq.read_table(run.path(scores))
    ranking = ranking_of(evidence, table[detector].to_numpy())
    found = budget.find(ranking)
    scalars = [
        pq.read_table(path, schema=GRADIENTS)
        for shard in crossfit.gradients
        for path in run.paths(shard, ".parquet", "gradients")
    ]
    # One checkpoint is one fold: trained on the very samples it is asked about.
    model = "in-sample" if crossfit.plan.count == 1 else "held-out"
    samples = crossfit.samples
    thin = classed(samples, table_of(run, samples, ["sample_id", "label", "group", "source", "row", "source_id"]))
    advice = advised(evidence, ranking.wrongness)
    suggests = evidence.target.has_class_probabilities
    flags = decide(
        table,
        thin,
        pa.concat_tables(scalars),
        advice,
        found.count,
        options,
        model,
        suggests=suggests,
    )
    # Guards keep some of those the budget was found for: it is stated of those that are flagged in the end.
    found = budget.stated(found, ranking, flagged_of(flags, evidence.ids))
    audited = audit(flags, thin)
    with run.draft("flags") as draft:
        pq.write_table(described(flags, thin), draft.path("flags.parquet", flags.num_rows), compression="zstd")
        pq.write_table(audited, draft.path("audit.parquet", audited.num_rows), compression="zstd")
        return draft.commit(
            detector=detector, budget=found.count, found=found.model_dump(mode="json"), **counted(flags, audited)
        )
