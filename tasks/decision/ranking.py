"""What budgets look at, gathered from a run's evidence."""

from __future__ import annotations

import numpy as np

from tasks.decision.budgets import Ranking
from tasks.scoring.evidence import Evidence
from tasks.scoring.wrongness import observations_of, wrongness_of


def ranking_of(evidence: Evidence, suspicion: np.ndarray) -> Ranking:
    """The ranking of all samples under one detector's suspicion."""
    return Ranking(
        suspicion=suspicion,
        labels=evidence.labels,
        predicted=evidence.logits.argmax(1),
        wrongness=wrongness_of(observations_of(evidence), evidence.classes) if len(evidence.canaries) else None,
    )
