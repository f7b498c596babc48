"""Detectors: each turns gradients into one suspicion a sample, higher = more suspect. To add one, add a file here."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from tasks.parts import Choice, Family, Part
from tasks.shards import GradientShards


class Detector(Part):
    """Base of all detectors."""

    kind: Any

    @property
    def name(self) -> str:
        """Its column in the scores table."""
        return str(self.kind)

    def score(self, gradients: GradientShards) -> np.ndarray:
        """Suspicion of each sample, float64, in the order of ``gradients`` (sorted sample_id)."""
        raise TypeError(f"{type(self).__name__} must define score()")


DETECTORS: Family[Detector] = Family(__name__, Detector)


class DetectorChoice(Choice[Detector], family=DETECTORS):
    """A detector."""

    kind: str = Field(default="l2", description="Which detector.")
