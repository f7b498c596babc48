"""LiSSA: influence with the inverse of the curvature as a Neumann series."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tasks.scoring.canary_evidence import CanaryEvidence
from tasks.scoring.detectors.influence import ReferenceInfluence, SeriesInfluence, gradients_of
from tasks.scoring.evidence import Evidence

if TYPE_CHECKING:
    import torch

    from tasks.kernels.gradients import Gradients


class LiSSA(SeriesInfluence, ReferenceInfluence, kind="lissa"):
    """−xᵀ g with x ≈ (H + λI)⁻¹ v (Agarwal, Bullins & Hazan, JMLR 2017).

    Cut off at ``depth`` the series leaves directions of little curvature short, as more damping would.
    """

    def of_fold(self, gradients: Gradients, evidence: Evidence, members: np.ndarray) -> torch.Tensor:
        """One product of the curvature with a vector for each term."""
        from tasks.kernels.influence import lissa_direction

        curvature, damping = self._curvature(gradients, evidence, members)
        reference = self._reference(gradients, evidence, members)
        x = self._sum_series(
            lambda series, generator: lissa_direction(reference, curvature, damping, series, generator)
        )
        self._directions(evidence)[int(evidence.folds[members[0]])] = x
        return -gradients.dots(x)[0]

    def score_canaries(self, canaries: CanaryEvidence) -> np.ndarray:
        """Influence on the loss of the reference under the labels that were given: the series is summed once.

        Under planted labels hardly a canary is in the reference, under given ones a few in a hundred of it are.
        """
        canaries.with_given_labels.score(self)
        suspicion = np.empty(len(canaries), np.float64)
        for fold, x in self._directions(canaries.with_given_labels).items():
            members = np.flatnonzero(canaries.folds == fold)
            if len(members):
                gradients = gradients_of(canaries.gradients, members, canaries.gradients.largest)
                suspicion[members] = -gradients.dots(x)[0].numpy()
        return suspicion

    def _directions(self, evidence: Evidence) -> dict[int, torch.Tensor]:
        """x of each fold, as far as they are known."""
        side = "planted" if evidence.is_planted else "given"
        return evidence.once(f"lissa directions {self.model_dump_json()} {side}", dict)
