"""Isolation forest on the gradients: the paper's detector."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from tasks.detectors import Detector
from tasks.shards import GradientShards


class IForest(Detector):
    """Liu, Ting & Zhou (ICDM 2008) as PyOD and scikit-learn have it: 100 trees on 256 samples each."""

    kind: Literal["iforest"] = "iforest"
    trees: int = Field(default=100, ge=1, description="Number of trees.")
    max_samples: int = Field(default=256, ge=2, description="Samples each tree is grown on.")
    seed: int = Field(default=0, description="Seed of the samples and splits.")
    max_gib: float = Field(default=4.0, gt=0, description="Refuse a dense gradient matrix larger than this.")

    def score(self, gradients: GradientShards) -> np.ndarray:
        """PyOD's ``decision_scores_``: the opposite of scikit-learn's ``score_samples`` up to its offset."""
        from pyod.models.iforest import IForest as PyodForest

        # PyOD's annotation knows only "auto".
        samples: Any = min(self.max_samples, len(gradients))
        forest = PyodForest(n_estimators=self.trees, max_samples=samples, random_state=self.seed)
        forest.fit(gradients.dense(int(self.max_gib * 2**30)))
        return np.asarray(forest.decision_scores_, np.float64)
