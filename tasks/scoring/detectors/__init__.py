"""Detectors: each turns evidence into one suspicion a sample, higher = more suspect. To add one, add a file here."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from tasks.core.plugins import Choice, Component, Registry
from tasks.scoring.canary_evidence import CanaryEvidence
from tasks.scoring.evidence import Evidence


class Detector(Component):
    """Base of all detectors."""

    kind: Any = None
    sees: ClassVar[tuple[str, ...]] = ("gradients",)
    """What it looks at beside the given labels, for the comparison's table: gradients, probabilities, votes, inputs,
    dynamics, canaries, reference, opinions (where it needs them), nothing. No detector sees a true label or a test
    sample."""

    compares: ClassVar[bool] = False
    """Whether it compares a label with others, though it sees neither probabilities nor votes: a response has none."""

    label_aware: ClassVar[bool] = True
    """Whether a score depends on the sample's own label. One that does not finds no wrong label by design."""

    pointwise: ClassVar[bool] = False
    """Whether a sample's score depends on no other sample's gradient or planted label."""

    apart: ClassVar[bool] = False
    """Whether ``score`` scores canaries under planted labels in the absence of all other samples."""

    @property
    def relative(self) -> bool:
        """Whether a score depends on the labels that other samples were given, of which planted ones are none."""
        return False

    @property
    def name(self) -> str:
        """Its column in the scores table."""
        return str(self.kind)

    def score(self, evidence: Evidence) -> np.ndarray:
        """Suspicion of each sample, float64, in the order of ``evidence`` (sorted sample_id)."""
        raise TypeError(f"{type(self).__name__} must define score()")

    def score_canaries(self, canaries: CanaryEvidence) -> np.ndarray:
        """Suspicion of the canaries under their planted labels, in the order of ``canaries``.

        As in ``with_planted_labels``, where all other samples are scored as well; unless it can do without them.
        """
        if self.apart:
            return self.score(canaries)
        return canaries.with_planted_labels.score(self)[canaries.ranks]

    def why_not(self, evidence: Evidence) -> str | None:
        """Why it has nothing to say of such data; None where it has. A fusion leaves it out then."""
        return None

    def facts(self, evidence: Evidence) -> dict[str, Any]:
        """What it learned and a reader should know, for the run's summary; asked after ``score``."""
        return {}


DETECTORS: Registry[Detector] = Registry(__name__, Detector)


class DetectorChoice(Choice[Detector], registry=DETECTORS):
    """A detector."""

    kind: str = Field(default="fusion", description="Which detector.")
