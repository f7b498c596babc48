"""Chance: what any other detector has to beat."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from pydantic import Field

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class Random(Detector, kind="random"):
    """Uniform in [0, 1), a function of (seed, sample_id) alone: it looks at neither label nor gradient."""

    sees: ClassVar[tuple[str, ...]] = ("nothing",)
    label_aware: ClassVar[bool] = False
    pointwise: ClassVar[bool] = True
    seed: int = Field(default=0, ge=-(2**63), lt=2**63, description="Seed of the draw.")

    def score(self, evidence: Evidence) -> np.ndarray:
        """One draw a sample (tasks/dataset/sample_ids.py)."""
        from tasks.dataset.sample_ids import uniforms

        return uniforms(evidence.ids.to_pylist(), self.seed, b"random")[0]
