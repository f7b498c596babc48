"""Isolation forest on the gradients: the paper's detector."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence
from tasks.scoring.forest import forest_scores


class IForest(Detector, kind="iforest"):
    """Liu, Ting & Zhou (ICDM 2008), tree for tree as PyOD and scikit-learn grow it: 100 trees on 256 samples each.

    The n × p matrix is not built: shards are read block by block, and each split takes its one value from the factors.
    Held in memory are a few numbers for each sample, at most 32 MiB of gathered rows, and the ``max_samples`` × p
    values that a tree is being grown on; with ``by``, also 32 MiB of samples and every group's forest.
    """

    trees: int = Field(default=100, ge=1, description="Number of trees.")
    max_samples: int = Field(default=256, ge=2, description="Samples each tree is grown on.")
    seed: int = Field(default=0, description="Seed of the samples and splits.")
    on: Literal["raw", "normalised"] = Field(
        default="raw", description="normalised: each gradient is divided by its L2 norm, so that only directions count."
    )
    by: Literal["all", "class", "fold"] = Field(
        default="all", description="One forest for all samples, or one for each given class or cross-fitting fold."
    )

    @property
    def name(self) -> str:
        """Its column: iforest, and what it does otherwise, so that both ways stand beside each other in one table."""
        return "iforest" + "_normalised" * (self.on == "normalised") + f"_by_{self.by}" * (self.by != "all")

    def score(self, evidence: Evidence) -> np.ndarray:
        """PyOD's ``decision_scores_``: the opposite of scikit-learn's ``score_samples`` up to its offset."""
        groups = {"class": lambda: evidence.labels, "fold": lambda: evidence.folds, "all": lambda: None}
        return forest_scores(
            evidence.gradients,
            groups[self.by](),
            trees=self.trees,
            max_samples=self.max_samples,
            seed=self.seed,
            on=self.on,
            grown_on=evidence.in_base,
        )
