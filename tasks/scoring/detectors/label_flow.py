"""Log-odds that the label flowed in from another class."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence

# The transitions' inverse takes k³ operations: of so many classes seconds, of five times as many a quarter of an hour.
_MOST_CLASSES = 2000


class LabelFlow(Detector, kind="label_flow"):
    """log P(wrong, y | x)/P(right, y | x) under noise transitions told from confusion (tasks/kernels/transitions.py).

    What is thought of a sample is the mean of the held-out network's probabilities and the neighbours' votes.
    """

    sees: ClassVar[tuple[str, ...]] = ("probabilities", "votes")
    apart: ClassVar[bool] = True

    @property
    def relative(self) -> bool:
        """The transitions are counted among the labels that were given."""
        return True

    def why_not(self, evidence: Evidence) -> str | None:
        """Ranges of a number are taken for those they border on, whatever the noise: the pairs say nothing of it."""
        if evidence.target.ordered:
            return "strata that border on one another"
        if len(evidence.classes) > _MOST_CLASSES:
            return f"{len(evidence.classes):,} classes, more than {_MOST_CLASSES:,}"
        return None

    def score(self, evidence: Evidence) -> np.ndarray:
        """In nats; above 0 where the label is more likely wrong than right."""
        from tasks.kernels.transitions import inverse_of, label_flow, transitions
        from tasks.scoring.wrongness import observations_of

        noise = evidence.once("transitions", lambda: transitions(observations_of(evidence).pairs))
        inverse = evidence.once("inverse transitions", lambda: inverse_of(noise))
        return label_flow((evidence.probabilities + evidence.votes) / 2, noise, evidence.labels, inverse)
