"""flag: samples + scores + evidence → flags.parquet and audit.parquet, decided in SQL."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from tasks.dataset.samples import table_of, with_class
from tasks.dataset.targets import target_of
from tasks.decision.budgets import Budget, Ranking
from tasks.decision.flagging import (
    THIN_FLAGS,
    Flagging,
    audit,
    count_flags,
    flagged_of,
    write_diagnoses,
    write_flags,
)
from tasks.pipeline.artefacts import Artefact, Run
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
    suspicion = pq.read_table(run.path(scores), columns=[detector])[detector].to_numpy()
    ranking, advice, ids = _judge(run, crossfit, scores, suspicion, detector)
    estimate = budget.find(ranking)
    # One checkpoint is one fold: trained on the very samples it is asked about.
    model = "in-sample" if crossfit.plan.count == 1 else "held-out"
    samples = crossfit.samples
    thin = with_class(samples, table_of(run, samples, ["sample_id", "label", "group", "source", "row", "source_id"]))
    gradients = [path for shard in crossfit.gradients for path in run.paths(shard, ".parquet", "gradients")]
    about = [run.path(scores)], thin, gradients, advice
    suggests, room = target_of(samples).has_class_probabilities, (run.lake / "cache", run.memory // 8)
    with run.draft("flags") as draft:
        path = draft.path("flags.parquet", len(ids))
        write_flags(path, *about, estimate.count, options, model, suggests=suggests, room=room)
        flags = pq.read_table(path, columns=THIN_FLAGS)
        # Guards keep some of those the budget was found for: it is stated of those that are flagged in the end.
        estimate = budget.restate(estimate, ranking, flagged_of(flags, ids))
        audit_table, diagnoses = audit(flags, thin, room), [asdict(each) for each in ranking.diagnoses]
        pq.write_table(audit_table, draft.path("audit.parquet", audit_table.num_rows), compression="zstd")
        write_diagnoses(draft, diagnoses)
        return draft.commit(
            detector=detector,
            budget=estimate.count,
            found=estimate.model_dump(mode="json"),
            diagnoses=diagnoses,
            strata=target_of(samples).strata_called[1],
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
