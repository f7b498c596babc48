"""flag: samples + scores + evidence → flags.parquet and audit.parquet, decided in SQL."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from tasks.dataset.samples import table_of, with_class
from tasks.dataset.targets import target_of
from tasks.decision.budgets import Budget, Ranking
from tasks.decision.flagging import (
    Flagging,
    audit,
    count_flags,
    decide,
    flagged_of,
    with_identifiers,
    write_diagnoses,
)
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.schemas import GRADIENTS
from tasks.pipeline.step import step
from tasks.scoring.crossfit import CrossFit

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa


@step("flag")
def flag(
    run: Run,
    crossfit: CrossFit,
    scores: Artefact,
    budget: Budget,
    options: Flagging,
) -> Artefact:
    """Decide which training samples are flagged, and why; say what that does to each class and group."""
    import pyarrow.parquet as pq

    detector = options.deciding_detector(scores.facts["detectors"])
    table = pq.read_table(run.path(scores))
    ranking, advice, ids = _judge(run, crossfit, scores, table[detector].to_numpy(), detector)
    estimate = budget.find(ranking)
    # One checkpoint is one fold: trained on the very samples it is asked about.
    model = "in-sample" if crossfit.plan.count == 1 else "held-out"
    samples = crossfit.samples
    thin = with_class(samples, table_of(run, samples, ["sample_id", "label", "group", "source", "row", "source_id"]))
    flags = decide(
        table,
        thin,
        _scalars(run, crossfit),
        advice,
        estimate.count,
        options,
        model,
        suggests=target_of(samples).has_class_probabilities,
        room=(run.lake / "cache", run.memory // 8),
    )
    # Guards keep some of those the budget was found for: it is stated of those that are flagged in the end.
    estimate = budget.restate(estimate, ranking, flagged_of(flags, ids))
    audit_table, diagnoses = audit(flags, thin), [asdict(each) for each in ranking.diagnoses]
    with run.draft("flags") as draft:
        pq.write_table(with_identifiers(flags, thin), draft.path("flags.parquet", flags.num_rows), compression="zstd")
        pq.write_table(audit_table, draft.path("audit.parquet", audit_table.num_rows), compression="zstd")
        write_diagnoses(draft, diagnoses)
        return draft.commit(
            detector=detector,
            budget=estimate.count,
            found=estimate.model_dump(mode="json"),
            diagnoses=diagnoses,
            **count_flags(flags, audit_table),
        )


def _judge(
    run: Run, crossfit: CrossFit, scores: Artefact, suspicion: np.ndarray, detector: str
) -> tuple[Ranking, pa.Table, pa.Array]:
    """(the ranking, advice on every sample, their sorted ids); the evidence itself is not needed any more."""
    from tasks.decision.guards import advise
    from tasks.decision.ranking import canary_suspicions, ranking_of
    from tasks.scoring.evidence import Evidence

    evidence = Evidence(run, crossfit)
    ranking = ranking_of(evidence, suspicion, canary_suspicions(run, scores, detector))
    return ranking, advise(evidence, ranking.wrongness), evidence.ids


def _scalars(run: Run, crossfit: CrossFit) -> pa.Table:
    """Schema ``GRADIENTS``: norms and predictions of every training sample."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = (path for shard in crossfit.gradients for path in run.paths(shard, ".parquet", "gradients"))
    return pa.concat_tables([pq.read_table(path, schema=GRADIENTS) for path in paths])
