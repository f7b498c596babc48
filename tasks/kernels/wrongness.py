"""How many labels may be wrong, and which: by two observers that saw none of them, and by canaries.

The observers are a held-out network a and the vote b of the neighbours' labels; y is the given label, w the event that
it is wrong. Of samples that are about equally hard,

    D = P(a ≠ y) = P(a ≠ y | w) π + P(a ≠ y | not w) (1 − π)

    P(a ≠ y | w)       measured on canaries
    P(a ≠ y | not w)   the observer's own error e: how often two observers that learnt from different sides disagree,
                       P(a ≠ b), as the disagreement of two networks tells their error (Jiang et al., "Assessing
                       Generalization of SGD via Disagreement", ICLR 2022)

which gives π, and for one sample P(w | a ≠ y) = P(a ≠ y | w) π / D; to which the pair of classes adds its own odds
(tasks/kernels/transitions.py). No label is taken to be true. What is hard to predict counts as wrong here, where both
observers lean on the same class: an upper reading (tasks/kernels/lapses.py has the lower one).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Bool, Float, Int
from tasks.kernels.pieces import pieces

_LEAST = 1e-3
# Weight, in canaries, of the overall detection rate in a stratum's own.
_PRIOR_CANARIES = 5.0


class Strata(NamedTuple):
    """Counts in s strata of equal difficulty; a leading axis of replicates may stand before s."""

    samples: Float[np.ndarray, "*r s"]
    contradicted: Float[np.ndarray, "*r s"]
    """a ≠ y"""
    disputed: Float[np.ndarray, "*r s"]
    """a ≠ b"""
    canaries: Float[np.ndarray, "*r s"]
    caught: Float[np.ndarray, "*r s"]
    """canaries with a ≠ planted label"""


class Chances(NamedTuple):
    """P(w) of a sample, by stratum and by whether the network contradicts its label; *r s each."""

    contradicted: Float[np.ndarray, "*r s"]
    confirmed: Float[np.ndarray, "*r s"]


def difficulty(p: Float[np.ndarray, "n k"], votes: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n"]:
    """−max_j [log(p_j + 10⁻³) + log(v_j + 10⁻³)]: low where both observers are sure of the same class, whichever."""
    hardness = np.empty(len(p))
    for some in pieces(*p.shape):
        hardness[some] = -(np.log(p[some] + _LEAST) + np.log(votes[some] + _LEAST)).max(1)
    return hardness


def strata_of(hardness: Float[np.ndarray, "n"], count: int) -> Int[np.ndarray, "n"]:
    """``count`` strata of equal size, easy ones first."""
    stratum = np.empty(len(hardness), np.int64)
    stratum[np.argsort(hardness, kind="stable")] = np.arange(len(hardness)) * count // len(hardness)
    return stratum


def joined_odds(chance: Float[np.ndarray, "n"], pair: Float[np.ndarray, "n"], usual: float) -> Float[np.ndarray, "n"]:
    """Odds of two independent pieces of evidence: o(chance) · o(pair) / o(usual), as a probability.

    Args:
        chance: P(w) by difficulty.
        pair: P(w) by pair of classes.
        usual: the mean of ``pair``, which ``chance`` contains already.
    """
    return expit(logit(chance) + logit(pair) - logit(np.array([usual])))


def logit(p: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """log p/(1 − p), p kept between 0.005 and 0.995: nothing here is surer than that."""
    inner = np.clip(p, 0.005, 0.995)
    return np.log(inner / (1 - inner))


def expit(x: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
    """1/(1 + e^−x), x kept between −40 and 40: beyond, nothing of it is left in a float64."""
    return 1 / (1 + np.exp(-np.clip(x, -40, 40)))


def tally(
    stratum: Int[np.ndarray, "n"],
    contradicted: Bool[np.ndarray, "n"],
    disputed: Bool[np.ndarray, "n"],
    indices: Int[np.ndarray, "m"],
    caught: Bool[np.ndarray, "m"],
    count: int,
) -> Strata:
    """Count by stratum; ``indices`` are the canaries' rows."""
    own = stratum[indices]
    counted = (stratum, stratum[contradicted], stratum[disputed], own, own[caught])
    return Strata(*(np.bincount(where, minlength=count).astype(np.float64) for where in counted))


def chances(strata: Strata) -> Chances:
    """c π / D and (1 − c) π / (1 − D), from π = (D − e) / (c − e) within [0, 1] that rises with difficulty.

    c is the canaries' detection rate, drawn towards the overall one by 5 canaries. A label is no surer to be right
    where the two observers are at a loss, though they contradict each other more than the labels there: isotonic
    regression with weights n (c − e), so that Σ n (D − e) stays.
    """
    n, caught = strata.samples, _detection(strata)
    contradicted, noise = strata.contradicted / n, _rising_noise(strata, caught)
    return Chances(
        np.minimum(1, noise * caught / np.maximum(contradicted, 1 / n)),
        np.minimum(1, noise * (1 - caught) / np.maximum(1 - contradicted, 1 / n)),
    )


def noise_share(strata: Strata) -> Float[np.ndarray, "r"]:
    """Mean of π over the strata of each replicate, which are equally large, with c ≥ 1 − e.

    A canary on a label that is wrong already may bear the true one, and is then confirmed: where the observers do not
    dispute, that is the only reason why one is missed.
    """
    caught = np.maximum(_detection(strata), 1 - strata.disputed / strata.samples)
    return _rising_noise(strata, caught).mean(-1)


def _detection(strata: Strata) -> Float[np.ndarray, "*r s"]:
    overall = (strata.caught.sum(-1, keepdims=True) + 1) / (strata.canaries.sum(-1, keepdims=True) + 1)
    return (strata.caught + _PRIOR_CANARIES * overall) / (strata.canaries + _PRIOR_CANARIES)


def _rising_noise(strata: Strata, caught: Float[np.ndarray, "*r s"]) -> Float[np.ndarray, "*r s"]:
    n, disputed = strata.samples, strata.disputed / strata.samples
    contrast = np.maximum(caught - disputed, 0.05)
    return np.clip(isotonic_regression((strata.contradicted / n - disputed) / contrast, n * contrast), 0, 1)


def isotonic_regression(
    values: Float[np.ndarray, "*r s"], weights: Float[np.ndarray, "*r s"]
) -> Float[np.ndarray, "*r s"]:
    """Isotonic regression, the nearest rising sequence in weighted squares, with the same weighted mean.

    max_{i≤b} min_{j≥b} of the weighted mean of the values i … j (Barlow et al., 1972).
    """
    s = values.shape[-1]
    sums = np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(values * weights, -1)], -1)
    mass = np.concatenate(
        [np.zeros((*values.shape[:-1], 1)), np.cumsum(np.broadcast_to(weights, values.shape), -1)], -1
    )
    first, last = np.arange(s)[:, None], np.arange(s)[None, :]
    means = (sums[..., None, 1:] - sums[..., :-1, None]) / np.where(
        first <= last, mass[..., None, 1:] - mass[..., :-1, None], 1
    )
    means = np.where(first <= last, means, np.inf)
    # least mean of i … j over j ≥ b, then the largest over i ≤ b
    least = np.minimum.accumulate(means[..., ::-1], -1)[..., ::-1]
    return np.maximum.accumulate(np.where(first <= last, least, -np.inf), -2)[..., range(s), range(s)]


def resample(strata: Strata, both: Float[np.ndarray, "s"], replicates: int, generator: np.random.Generator) -> Strata:
    """Bootstrap replicates of the counts: samples and canaries drawn anew within each stratum.

    Args:
        strata: as counted.
        both: samples that are contradicted and disputed, which ties the two counts together.
        replicates: r.
        generator: of the draws.
    """
    n = strata.samples
    parts = np.stack([both, strata.contradicted - both, strata.disputed - both], 1) / n[:, None]
    parts = np.concatenate([parts, 1 - parts.sum(1, keepdims=True)], 1).clip(0, 1)
    draws = np.stack(
        [
            generator.multinomial(int(size), share / share.sum(), replicates)
            for size, share in zip(n, parts, strict=True)
        ],
        1,
    )
    canaries = np.broadcast_to(strata.canaries, draws.shape[:2])
    rate = strata.caught / np.maximum(strata.canaries, 1)
    return Strata(
        np.broadcast_to(n, draws.shape[:2]),
        (draws[..., 0] + draws[..., 1]).astype(np.float64),
        (draws[..., 0] + draws[..., 2]).astype(np.float64),
        canaries,
        generator.binomial(canaries.astype(np.int64), rate).astype(np.float64),
    )
