"""What is fixed before any network is trained."""

from __future__ import annotations

from tasks.dataset.targets import Target
from tasks.pipeline.artefacts import Artefact, Bundle, Run
from tasks.planning.canaries import CanaryLabels, canary_labels_of


class Plan(Bundle):
    """Which network is trained on which samples, under which labels.

    Neighbours' votes are no part of it: a network is not trained anew because its samples have other neighbours.
    """

    folds: Artefact
    canaries: Artefact | None
    """None where none are planted."""

    @property
    def count(self) -> int:
        """How many folds."""
        return self.folds.facts["folds"]

    def canary_labels(self, run: Run, target: Target) -> CanaryLabels:
        """The canaries; none where none are planted."""
        return CanaryLabels.none(self.count) if self.canaries is None else canary_labels_of(run, self.canaries, target)
