"""What the labels of the nearest samples say against the given label."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from tasks.core.errors import BadConfig
from tasks.scoring.canary_evidence import CanaryEvidence
from tasks.scoring.detectors import Detector
from tasks.scoring.evidence import Evidence


class Neighbours(Detector, kind="neighbours"):
    """max_{j≠y} v_j − v_y of the votes v of the k nearest neighbours, whose own label is not asked."""

    sees: ClassVar[tuple[str, ...]] = ("votes",)
    pointwise: ClassVar[bool] = True
    space: Literal["inputs", "features"] = Field(
        default="inputs",
        description="inputs: neighbours as the run has found them (option neighbours). features: those of the same "
        "fold, by the cosine of the network's last hidden layer; needs gradients of the kind head.",
    )
    neighbours: int = Field(default=30, ge=1, description="How many are asked, in the space of features.")

    def score_canaries(self, canaries: CanaryEvidence) -> np.ndarray:
        """In the space of the inputs votes are those that were given, whoever asks."""
        return self.score(canaries) if self.space == "inputs" else super().score_canaries(canaries)

    @property
    def name(self) -> str:
        """Its column."""
        return "neighbours" if self.space == "inputs" else "neighbours_features"

    @property
    def relative(self) -> bool:
        """In the space of features the labels that are asked are those that were given."""
        return self.space == "features"

    def score(self, evidence: Evidence) -> np.ndarray:
        """Between −1 (all agree with the label) and 1."""
        from tasks.kernels.margins import margin

        return margin(evidence.votes if self.space == "inputs" else self._votes_by_features(evidence), evidence.labels)

    def _votes_by_features(self, evidence: Evidence) -> np.ndarray:
        """Votes among the held-out samples of each fold: their features are of one network that saw none of them."""
        import torch
        from torch.nn.functional import normalize

        from tasks.kernels.neighbours import nearest, votes

        if not evidence.gradients.factored:
            raise BadConfig(
                where="detector neighbours, option space features",
                expected="gradients of the kind head, which hold the last hidden layer",
                got=f"the kind {evidence.gradients.metadata.gradient.get('kind')}",
                do="Use --gradient.kind head, or the space inputs.",
            )
        ballots = np.empty((len(evidence), len(evidence.classes)), np.float32)
        # The neighbours' labels are the given ones: a canary's planted label is a secret between it and the detector.
        labels = torch.from_numpy(evidence.with_given_labels.labels)
        for fold in np.unique(evidence.folds):
            members = np.flatnonzero(evidence.folds == fold)
            features = evidence.gradients.rows(members, "features")["features"].astype(np.float32)
            index, in_base = normalize(torch.from_numpy(features), dim=1), torch.from_numpy(evidence.in_base[members])
            own = labels[torch.from_numpy(members)][in_base]
            themselves = torch.where(in_base, in_base.cumsum(0) - 1, -1)
            count = max(1, min(self.neighbours, len(own) - 1))
            for block, near, _ in nearest(index, index[in_base], themselves, count):
                ballots[members[block]] = votes(near, own, len(evidence.classes)).numpy()
        return ballots
