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
    resampled,
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
class Observed:
    """What two observers say of n samples that neither was told the label of, and of m canaries among them."""

    probabilities: np.ndarray
    """p of the held-out network, n × k"""
    votes: np.ndarray
    """Shares of the neighbours' labels, n × k"""
    labels: np.ndarray
    """y, n given classes"""
    places: np.ndarray
    """Rows of the canaries."""
    planted: np.ndarray
    """Their planted classes."""
    in_base: np.ndarray | None = None
    """Whose pairs of classes tell the noise, n bool; all, by default."""

    @property
    def predicted(self) -> np.ndarray:
        """a, the network's class."""
        return self.probabilities.argmax(1)

    @property
    def pairs(self) -> Pairs:
        """Counts by pair of classes."""
        seen = np.ones(len(self.labels), bool) if self.in_base is None else self.in_base
        a, b = self.predicted[seen], self.votes[seen].argmax(1)
        return pairs_of(a, b, self.labels[seen], self.probabilities.shape[1])

    @property
    def concentration(self) -> float:
        """How few pairs of classes the noise keeps to."""
        return concentration(self.pairs)


@dataclass(frozen=True)
class Wrongness:
    """P(wrong) of every sample, twice: as far as it can be told, and as it is believed.

    A budget counts what can be told: where two observers are at a loss no label is flagged for it. Whoever asks of one
    label is told what is believed: noise as frequent among hard samples as among easier ones.
    """

    probability: np.ndarray
    """n, as believed"""
    told: np.ndarray
    """n, as can be told"""
    stratum: np.ndarray
    contradicted: np.ndarray
    replicates: np.ndarray
    """r × s × 2: what can be told of (confirmed, contradicted) labels of each stratum, less the estimate of it"""

    @property
    def share(self) -> float:
        """π, the share of labels that can be told to be wrong."""
        return float(self.told.mean())

    def cells(self) -> np.ndarray:
        """Which of the s × 2 cells each sample is in."""
        return self.stratum * 2 + self.contradicted


def wrongness_of(observed: Observed, seed: int = 0) -> Wrongness:
    """Estimate P(wrong): by difficulty and contradiction, then by the pair of classes (tasks/kernels/wrongness.py)."""
    n = len(observed.labels)
    count = int(np.clip(n // _STRATUM, 1, _STRATA))
    a, b = observed.predicted, observed.votes.argmax(1)
    stratum = strata_of(difficulty(observed.probabilities, observed.votes), count)
    contradicted, disputed = a != observed.labels, a != b
    caught = a[observed.places] != observed.planted
    counts = tally(stratum, contradicted, disputed, observed.places, caught, count)
    by_pair = pair_chances(observed.pairs)[a, observed.labels][contradicted]
    usual = float(by_pair.mean()) if contradicted.any() else 0.0

    def each(table: np.ndarray, pair: np.ndarray) -> np.ndarray:
        chance = table[stratum, contradicted.astype(int)]
        chance[contradicted] = joined_odds(chance[contradicted], pair, usual)
        return chance

    found = _table(counts, even=False)
    both = np.bincount(stratum[contradicted & disputed], minlength=count).astype(np.float64)
    again = _table(resampled(counts, both, REPLICATES, np.random.default_rng(seed)), even=False)
    # A pair without excess has no noise that can be told from confusion: less than usual is believed, but not none.
    believed = each(_table(counts, even=True), np.maximum(by_pair, usual / 4))
    return Wrongness(believed, each(found, by_pair), stratum, contradicted.astype(np.int64), again - found)


def _table(counts: Strata, *, even: bool) -> np.ndarray:
    """… × s × 2: confirmed, contradicted."""
    found = chances(counts, even=even)
    return np.stack([found.confirmed, found.contradicted], -1)


def observed(evidence: Evidence) -> Observed:
    """What a run's observers say of its samples, under the labels they were given."""
    given = evidence.given
    return Observed(
        given.probabilities, given.votes, given.labels, given.canary_places, given.canaries.labels, given.in_base
    )
