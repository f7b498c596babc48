"""The canaries alone, under their planted labels: what a detector that learns from them asks of each signal.

The twin of an evidence (tasks/scoring/evidence.py) has every sample once more, of which these are a twentieth.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tasks.gradients.shards import GradientShards
from tasks.scoring.evidence import Evidence, Scoring, is_reference

if TYPE_CHECKING:
    from tasks.scoring.detectors import Detector


class CanaryEvidence(Evidence):
    """Of m canaries, in the order of their ids; what belongs to other samples is asked of ``with_given_labels``.

    Args:
        whole: of all samples, one of them a canary.
    """

    def __init__(self, whole: Evidence) -> None:
        whole = whole.with_given_labels
        super().__init__(whole.run, whole.crossfit, planted=True)
        self._twin = whole

    @cached_property
    def ranks(self) -> np.ndarray:
        """Where they stand among all samples."""
        return np.sort(self.with_given_labels.canary_ranks)

    @property
    def with_planted_labels(self) -> Evidence:
        """All samples, they among them."""
        return self.with_given_labels.twin

    @cached_property
    def gradients(self) -> GradientShards:
        """By the networks that never saw them, under their planted labels."""
        own = [shard for shard in self.crossfit.gradients if not is_reference(shard)]
        return GradientShards(self.run, own, "canaries")

    @cached_property
    def ids(self) -> pa.Array:
        """Sorted."""
        return self.gradients.ids()

    @cached_property
    def texts(self) -> pa.Array:
        """As they were given."""
        return self.with_given_labels.texts.take(pa.array(self.ranks))

    @cached_property
    def labels(self) -> np.ndarray:
        """The planted ones."""
        labels = np.empty(len(self.ids), np.int64)
        labels[self.canary_ranks] = self.canaries.labels
        return labels

    @cached_property
    def in_base(self) -> np.ndarray:
        """Which of them are not new."""
        return self.with_given_labels.in_base[self.ranks]

    @cached_property
    def votes(self) -> np.ndarray:
        """Of their neighbours."""
        return self.with_given_labels.votes[self.ranks]

    @cached_property
    def neighbours(self) -> np.ndarray:
        """Ranks among all samples."""
        return self.with_given_labels.neighbours[self.ranks]

    @cached_property
    def opinions(self) -> list[np.ndarray]:
        """Of them."""
        return [opinion[self.ranks] for opinion in self.with_given_labels.opinions]

    def score(self, detector: Scoring | Detector) -> np.ndarray:
        """The detector's suspicions of them, kept for whoever asks again."""
        return super().score(_OfCanaries(detector))


class _OfCanaries:
    """A detector, asked about canaries."""

    def __init__(self, detector: Any) -> None:
        self.detector = detector

    def score(self, evidence: Any) -> np.ndarray:
        return self.detector.score_canaries(evidence)

    def model_dump_json(self) -> str:
        return f"{type(self.detector).__qualname__} {self.detector.model_dump_json()}"


def canaries_of(evidence: Evidence) -> CanaryEvidence:
    """The canaries of a run, made once whichever evidence one has."""
    return evidence.once("canaries", lambda: CanaryEvidence(evidence))
