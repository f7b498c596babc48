"""The chance that a given label is wrong, for every sample, from held-out evidence alone, as far as it can be known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tasks.kernels.label_pools import fit_pools
from tasks.kernels.lapses import Lapses, consensus, fit_lapses, lapse_chance
from tasks.kernels.transitions import Pairs, concentration, pair_chances, pairs_of
from tasks.kernels.wrongness import (
    Strata,
    chances,
    difficulty,
    joined_odds,
    noise_share,
    resample,
    strata_of,
    tally,
)
from tasks.scoring.diagnosis import (
    REACH,
    Diagnosis,
    diagnose_classes,
    diagnose_network,
    diagnose_tail,
    diagnose_unpredictability,
    is_point,
    recognised_classes,
)

if TYPE_CHECKING:
    from tasks.kernels.tails import Tail
    from tasks.scoring.evidence import Evidence

# Samples a stratum has at least, and strata there are at most.
_STRATUM, _STRATA = 100, 20
# Share of the labels whose class the observers know, below which nothing is said of all: where classes have a sample or
# two no vote is sure of any, and dissent that cannot fade would be taken for wrong labels.
_KNOWN = 0.5
# How far the curve of the dissent may be off, of the share.
_MISFIT = 0.1
# Log-likelihood that wrong labels must add: of observers that know next to nothing χ² does not hold, for a pool that
# knows nothing and one that is sure and wrong half the time say the same of two classes.
_CLEAR = 5.0
# Wrong labels that a reading of single labels must find: of a hundred samples a pool explains all but one.
_FEW = 3
# So many times a figure by pairs of classes its interval may reach: networks learn such pairs, and it is the least.
_REACH = 1.5
REPLICATES = 200
"""Bootstrap replicates behind the upper end of the share."""


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
    ordered: bool = False
    """Whether the classes are ranges of a number: wrong ones fall into the right range as well, and beside it."""
    sets: bool = False
    """Whether the classes are sets of labels."""
    tail: Tail | None = None
    """Which labels lie far from the many; None of what is no number."""

    @property
    def predicted(self) -> np.ndarray:
        """a, the network's class."""
        return self.probabilities.argmax(1)

    @property
    def classes(self) -> int:
        """k"""
        return self.probabilities.shape[1]

    @property
    def pairs(self) -> Pairs:
        """Counts by pair of classes."""
        base = np.ones(len(self.labels), bool) if self.in_base is None else self.in_base
        a, b = self.predicted[base], self.votes[base].argmax(1)
        return pairs_of(a, b, self.labels[base], self.classes)

    @property
    def concentration(self) -> float:
        """How few pairs of classes the noise keeps to."""
        return concentration(self.pairs)


@dataclass(frozen=True)
class Share:
    """π, the share of wrong labels: the range that the data allow, and a figure in it where they carry one."""

    low: float
    high: float
    value: float | None = None
    fit: tuple[float, float] = (0.0, 1.0)
    """The range by the curve as it fits: what rates are stated by, together with the chances by that curve."""
    sure: float = 0.0
    """What it exceeds with a certainty of 95 %, by the curve as it fits: what a budget counts on."""


@dataclass(frozen=True)
class Wrongness:
    """P(wrong) of each of n samples by four readings of their dissent, and the share that they come to.

    Dissent that fades as the observers become sure, and goes where their second thoughts go, is unpredictability;
    dissent that does neither is wrong labels (tasks/kernels/lapses.py, tasks/kernels/label_pools.py). ``low`` and
    ``high`` read the 95 % interval of that rate at its two ends; ``sure`` is the lower end where no upper one is asked
    for.
    """

    low: np.ndarray
    probability: np.ndarray
    high: np.ndarray
    sure: np.ndarray
    recognised: np.ndarray
    """Whether the observers know the class that each sample bears, n bool."""
    share: Share | None
    """None where the observers are no better than chance, or know the classes of less than half: nothing is known."""
    diagnoses: tuple[Diagnosis, ...]

    @property
    def stated_probability(self) -> np.ndarray | None:
        """``probability`` where the data carry a figure, and not a range alone."""
        return self.probability if self.share is not None and self.share.value is not None else None


def wrongness_of(observations: Observations, names: list[str] | None = None) -> Wrongness:
    """Diagnose what the data carry, then read P(wrong) off the observers' dissent.

    Args:
        observations: of n samples.
        names: of the classes, for the sentences.
    """
    wrongness = _wrongness_of(observations, names)
    if observations.tail is None:
        return wrongness
    far = diagnose_tail(observations.tail, stated=wrongness.share is not None)
    return replace(wrongness, diagnoses=(*wrongness.diagnoses, far))


def _wrongness_of(observations: Observations, names: list[str] | None) -> Wrongness:
    labels, k = observations.labels, observations.classes
    choice, _ = consensus(observations.probabilities, observations.votes)
    network = diagnose_network(observations.probabilities, observations.votes, choice, labels)
    known = recognised_classes(choice, labels, k)
    nothing = np.zeros(len(labels))
    if not network.passed:
        every = np.ones(len(labels), bool)  # of no class more is known than of another
        return Wrongness(nothing, nothing, nothing, nothing, every, None, (network,))
    if known[labels].mean() < _KNOWN:
        diagnoses = (network, diagnose_classes(known, names))
        return Wrongness(nothing, nothing, nothing, nothing, known[labels], None, diagnoses)
    # Dissent of a class that neither observer knows is evidence of nothing: the least that is wrong is none of it, the
    # most all of it.
    counted, dissent = known[labels], choice != labels
    reading = _read(observations, counted)
    lapses = reading.lapses
    rate, low, high, sure = (float(counted.mean()) * each for each in lapses[:4])
    of_all = lapses._replace(low=low, rate=rate, high=high + float((dissent & ~counted).mean()), sure=sure)
    share = _share(observations, of_all, reading)
    rates = (lapses.low, lapses.rate if share.value is not None else 0.0, lapses.high, lapses.sure)
    low, middle, high, sure = (
        np.where(counted & dissent, reading.chance(rate, curve), 0.0)
        for rate, curve in zip(rates, lapses.curves, strict=True)
    )
    mixed = diagnose_unpredictability(of_all, share.low, share.high, point=share.value is not None)
    return Wrongness(low, middle, high, sure, known[labels], share, (network, mixed, diagnose_classes(known, names)))


class _Reading(NamedTuple):
    """How many of the labels counted are surely wrong."""

    lapses: Lapses
    chance: Callable[[float, np.ndarray], np.ndarray]
    """P(wrong) of n labels by one of its rates and curves."""
    agreed: bool = True  # with every other reading of the same dissent
    reach: float = REACH
    """So many times a figure that is stated its interval may reach."""


def _read(observations: Observations, counted: np.ndarray) -> _Reading:
    """By how likely each label is, where that shows wrong ones clearly; else by how the dissent fades.

    The former leaves out pairs of classes that the observers have learned to expect, so that the latter is believed
    where it shows more. Of ranges of a number it alone is asked: few wrong numbers are far from all that is likely.
    """
    p, votes, labels = observations.probabilities, observations.votes, observations.labels
    choice, odds = consensus(p, votes)
    by_fading = fit_lapses(odds[counted], (choice != labels)[counted])
    faded = _Reading(by_fading, lambda rate, curve: lapse_chance(rate, curve, odds))
    if observations.ordered:
        return faded
    fit = fit_pools(p, votes, labels, counted, by_pairs=not observations.sets)
    by_label = fit.lapses
    if not by_label.low or by_label.gain < _CLEAR or by_label.rate * counted.sum() < _FEW:
        return faded
    if not fit.by_pairs:
        return _Reading(by_label, fit.chance)
    agreed = by_label.low <= by_fading.high and by_fading.low <= by_label.high
    if by_fading.low > by_label.rate:
        lapses = by_fading if agreed else by_fading._replace(low=by_label.low, sure=by_label.sure)
    else:
        lapses = by_label._replace(high=max(by_label.high, by_fading.high))
        agreed = agreed and by_fading.rate <= (1 + _MISFIT) * by_label.high
    fit = fit.given(lapses)
    return _Reading(fit.lapses, fit.chance, agreed, _REACH)


def _share(observations: Observations, lapses: Lapses, reading: _Reading) -> Share:
    """From the rate that cannot be unpredictability to the one that all dissent beyond the observers' own error allows.

    The upper end takes the noise to be as frequent where the observers err as where they do not
    (``noise_share`` of tasks/kernels/wrongness.py), at the 97.5 % quantile of bootstrap replicates. Both ends go a
    tenth further: likelihood and bootstrap know the chance of the draw, and not that the curve only nearly fits.

    Readings that tell different shares are no figure.

    Numbers far from all others come on top of the upper end: the range that one falls into is mostly the right one, or
    one that the observers have learned of its like, so that dissent tells next to nothing of it.
    """
    _, _, counts, both = _strata(observations)
    replicates = noise_share(resample(counts, both, REPLICATES, np.random.default_rng(0)))
    by_dissent = max(lapses.high, float(np.quantile(replicates, 0.975)))
    far = 0.0 if observations.tail is None else float(observations.tail.far.mean())
    high, most = (min(1.0, each + far) for each in (by_dissent, (1 + _MISFIT) * by_dissent))
    point = reading.agreed and is_point(lapses.low, lapses.rate, high, reading.reach)
    value = lapses.rate if point else None
    return Share((1 - _MISFIT) * lapses.low, most, value, (lapses.low, high), lapses.sure)


def expectation_of(observations: Observations) -> np.ndarray:
    """P(wrong) as the detectors are weighed by it, n: the mean of two readings of the same dissent.

    ``belief_of`` sees little where the observers often err, as on sets of labels, and the middle of what
    ``wrongness_of`` states sees little where dissent may be unpredictability. Where nothing is known the first stands
    alone.
    """
    belief, wrongness = belief_of(observations), wrongness_of(observations)
    if wrongness.share is None:
        return belief
    return (belief + (wrongness.low + wrongness.high) / 2) / 2


def belief_of(observations: Observations) -> np.ndarray:
    """P(wrong) by all dissent beyond the observers' own error, n.

    By difficulty and contradiction, then by the pair of classes (tasks/kernels/wrongness.py). It takes what is hard to
    predict for wrong and is stated of no label.
    """
    stratum, contradicted, counts, _ = _strata(observations)
    by_pair = pair_chances(observations.pairs, observations.predicted, observations.labels)[contradicted]
    usual = float(by_pair.mean()) if contradicted.any() else 0.0
    of_stratum = chances(counts)
    belief = np.where(contradicted, of_stratum.contradicted[stratum], of_stratum.confirmed[stratum])
    # A pair without excess has no noise that can be told from confusion: less than usual is believed, but not none.
    belief[contradicted] = joined_odds(belief[contradicted], np.maximum(by_pair, usual / 4), usual)
    return belief


def _strata(observations: Observations) -> tuple[np.ndarray, np.ndarray, Strata, np.ndarray]:
    """(stratum, contradicted, counts, how many are contradicted and disputed in each) by difficulty."""
    count = int(np.clip(len(observations.labels) // _STRATUM, 1, _STRATA))
    a, b = observations.predicted, observations.votes.argmax(1)
    stratum = strata_of(difficulty(observations.probabilities, observations.votes), count)
    contradicted, disputed = a != observations.labels, a != b
    caught = a[observations.canary_indices] != observations.canary_labels
    counts = tally(stratum, contradicted, disputed, observations.canary_indices, caught, count)
    both = np.bincount(stratum[contradicted & disputed], minlength=count).astype(np.float64)
    return stratum, contradicted, counts, both


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
        ordered=original.target.kind == "number",
        sets=original.target.kind == "labels",
        tail=original.target.tail(original.texts, original.in_base),
    )
