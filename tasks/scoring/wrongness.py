"""The chance that a given label is wrong, for every sample, from held-out evidence alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tasks.kernels.transitions import Pairs, concentration, pair_chances, pairs_of
from tasks.kernels.wrongness import (
    Strata,
    chances,
    difficulty,
    joined_odds,
    resample,
    strata_of,
    tally,
)

if TYPE_CHECKING:
    from tasks.scoring.evidence import Evidence

# Samples a stratum has at least, and strata there are at most.
_STRATUM, _STRATA = 100, 20
REPLICATES = 200
"""Bootstrap replicates behind every interval."""


@dataclass(frozen=True)
class Observations:
    """What two observers say of n samples whose labels neither has seen, and of m canaries among them."""

    probabilities: np.ndarray
    """p of the held-out network, n × k"""
    votes: np.ndarray
    """Shares of the neighbours' labels, n × k"""
    labels: np.ndarray
    """y, n given classes"""
    canary_indices: np.ndarray
    """Rows of the canaries, m."""
    canary_labels: np.ndarray
    """Their planted classes, m."""
    in_base: np.ndarray | None = None
    """The samples whose pairs of classes measure the noise, n bool; all, by default."""

    @property
    def predicted(self) -> np.ndarray:
        """a, the network's class."""
        return self.probabilities.argmax(1)

    @property
    def pairs(self) -> Pairs:
        """Counts by pair of classes."""
        base = np.ones(len(self.labels), bool) if self.in_base is None else self.in_base
        a, b = self.predicted[base], self.votes[base].argmax(1)
        return pairs_of(a, b, self.labels[base], self.probabilities.shape[1])

    @property
    def concentration(self) -> float:
        """How few pairs of classes the noise keeps to."""
        return concentration(self.pairs)


@dataclass(frozen=True)
class Wrongness:
    """P(wrong) of every sample, twice: the detectable part, and the whole as believed.

    A budget counts the detectable part: no label is flagged where both observers are at a loss. A single label is
    described by the belief: noise is as frequent among hard samples as among easier ones.
    """

    probability: np.ndarray
    """n, as believed"""
    detectable: np.ndarray
    """n, the part that the observers can detect"""
    stratum: np.ndarray
    contradicted: np.ndarray
    replicates: np.ndarray
    """r × s × 2: the detectable part of (confirmed, contradicted) labels of each stratum, less its estimate"""

    @property
    def share(self) -> float:
        """π, the share of labels that are detectably wrong."""
        return float(self.detectable.mean())

    def cells(self) -> np.ndarray:
        """Which of the s × 2 cells each sample is in."""
        return self.stratum * 2 + self.contradicted


def wrongness_of(observations: Observations, seed: int = 0) -> Wrongness:
    """Estimate P(wrong): by difficulty and contradiction, then by the pair of classes (tasks/kernels/wrongness.py)."""
    n = len(observations.labels)
    count = int(np.clip(n // _STRATUM, 1, _STRATA))
    a, b = observations.predicted, observations.votes.argmax(1)
    stratum = strata_of(difficulty(observations.probabilities, observations.votes), count)
    contradicted, disputed = a != observations.labels, a != b
    caught = a[observations.canary_indices] != observations.canary_labels
    counts = tally(stratum, contradicted, disputed, observations.canary_indices, caught, count)
    by_pair = pair_chances(observations.pairs)[a, observations.labels][contradicted]
    usual = float(by_pair.mean()) if contradicted.any() else 0.0

    def each(table: np.ndarray, pair: np.ndarray) -> np.ndarray:
        chance = table[stratum, contradicted.astype(int)]
        chance[contradicted] = joined_odds(chance[contradicted], pair, usual)
        return chance

    estimate = _table(counts, even=False)
    both = np.bincount(stratum[contradicted & disputed], minlength=count).astype(np.float64)
    again = _table(resample(counts, both, REPLICATES, np.random.default_rng(seed)), even=False)
    # A pair without excess has no noise that can be told from confusion: less than usual is believed, but not none.
    belief = each(_table(counts, even=True), np.maximum(by_pair, usual / 4))
    return Wrongness(belief, each(estimate, by_pair), stratum, contradicted.astype(np.int64), again - estimate)


def _table(counts: Strata, *, even: bool) -> np.ndarray:
    """… × s × 2: confirmed, contradicted."""
    chance = chances(counts, even=even)
    return np.stack([chance.confirmed, chance.contradicted], -1)


def observations_of(evidence: Evidence) -> Observations:
    """What a run's observers say of its samples, under the labels they were given."""
    original = evidence.with_given_labels
    return Observations(
        original.probabilities,
        original.votes,
        original.labels,
        original.canary_ranks,
        original.canaries.labels,
        original.in_base,
    )
