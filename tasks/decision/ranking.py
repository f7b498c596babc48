"""What budgets look at, gathered from a run's evidence."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq

from tasks.decision.budgets import Ranking
from tasks.pipeline.artefacts import Artefact, Run
from tasks.scoring.evidence import Evidence
from tasks.scoring.wrongness import observations_of, wrongness_of


def ranking_of(evidence: Evidence, suspicion: np.ndarray, canaries: np.ndarray | None = None) -> Ranking:
    """The ranking of all samples under one detector's suspicion, and of the canaries where it was asked about them."""
    return Ranking(
        suspicion=suspicion,
        labels=evidence.labels,
        predicted=evidence.logits.argmax(1),
        canaries=canaries,
        wrongness=wrongness_of(observations_of(evidence), evidence.classes) if len(evidence.canaries) else None,
    )


def canary_suspicions(run: Run, scores: Artefact, detector: str) -> np.ndarray | None:
    """What a detector says of the canaries under their planted labels; None of one that does not learn from them."""
    for path in run.paths(scores, "scores_of_canaries.parquet"):
        if detector in pq.read_schema(path).names:
            return pq.read_table(path, columns=[detector])[detector].to_numpy()
    return None
