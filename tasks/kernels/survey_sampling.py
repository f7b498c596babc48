"""Shares of a population from a sample that was drawn with known, unequal probabilities: no model is believed.

Of N samples each is drawn with a probability π_i > 0. Whatever decided the π_i, Σ y_i / π_i over those drawn is Σ y_i
on average (Horvitz & Thompson, JASA 47, 1952). Divided by Σ 1 / π_i it is the mean of y, with less variance where y
does not follow π (Hájek, in Foundations of Statistical Inference, 1971).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Bool, Float, Int

# The 97.5 % quantile of the normal distribution.
_QUANTILE = 1.959963984540054
# Halvings of an interval: to the last digit of a double.
_HALVINGS = 60


class Share(NamedTuple):
    """A share of a population, and its 95 % interval."""

    value: float
    low: float
    high: float


def inclusion_probabilities(sizes: Float[np.ndarray, "n"], count: int) -> Float[np.ndarray, "n"]:
    """π_i = min(1, c · size_i), with the c for which Σ π = count.

    Args:
        sizes: above 0, in whatever unit.
        count: at most n.
    """
    certain = np.zeros(len(sizes), bool)
    while True:
        rest = np.where(certain, 0.0, sizes)
        probabilities = np.where(certain, 1.0, (count - certain.sum()) * rest / max(rest.sum(), np.finfo(float).tiny))
        beyond = ~certain & (probabilities >= 1)
        if not beyond.any():
            return probabilities
        certain |= beyond


def falling_sizes(count: int) -> Float[np.ndarray, "n"]:
    """½ / n + ½ r^−½ / Σ r^−½, of rank r = 1 … n: the first are drawn more often.

    The last are drawn half as often as if all were alike, so however wrong the order is, no weight is above twice that.
    """
    falling = np.arange(1, count + 1, dtype=np.float64) ** -0.5
    return 0.5 / max(count, 1) + 0.5 * falling / falling.sum()


def systematic_sample(probabilities: Float[np.ndarray, "n"], start: float) -> Int[np.ndarray, "k"]:
    """Every i whose stretch of the line, π_1 + … + π_{i−1} to π_1 + … + π_i, holds one of start, start + 1, …

    Each is drawn with just its π_i, k = Σ π is fixed, and what stands side by side is not drawn together (Madow, Annals
    of Mathematical Statistics 20, 1949).

    Args:
        probabilities: within (0, 1]; their sum is a whole number.
        start: uniform within [0, 1).
    """
    ends = np.cumsum(probabilities)
    count = round(float(ends[-1])) if len(ends) else 0
    ranks = np.arange(count)
    drawn = np.searchsorted(ends, start + ranks, side="right")
    # Rounding may move a point past an end: nobody is drawn twice for it, and the last one keeps its place.
    drawn = np.maximum.accumulate(drawn - ranks) + ranks
    return np.minimum(drawn, len(ends) - count + ranks)


def hajek_share(hit: Bool[np.ndarray, "k"], probabilities: Float[np.ndarray, "k"]) -> Share:
    """p = Σ w y / Σ w, w = 1 / π, with an interval that is a point only where all are drawn.

    The variance is the linearised one, v = k/(k − 1) · Σ (1 − π) (w (y − p))² / (Σ w)² (Hájek, 1964). The interval is
    Wilson's of n* = p (1 − p) / v answers (Korn & Graubard, Survey Methodology 24, 1998), but of no more than
    (Σ w)² / Σ (w² / h(π)), for near 0 and 1 v knows nothing; h(π) = −ln(1 − π) / π is what an answer tells of a finite
    population.

    Args:
        hit: y, of those drawn; one at least.
        probabilities: π, within (0, 1].
    """
    weights = 1 / probabilities
    total = weights.sum()
    # Of hits alone the quotient may be above 1 by its last digit.
    value = min(1.0, float(weights @ hit / total))
    squares = (1 - probabilities) * (weights * (hit - value)) ** 2
    k = len(hit)
    variance = float(squares.sum() / total**2) * (k / (k - 1) if k > 1 else 1.0)
    # log1p(−1) is −∞: what is drawn for certain leaves nothing open.
    with np.errstate(divide="ignore"):
        known = -np.log1p(-probabilities) / probabilities
    left = float((weights**2 / known).sum())
    if left == 0:
        return Share(value, value, value)
    effective = total**2 / left
    return wilson(value, min(effective, value * (1 - value) / variance) if variance > 0 else effective)


def wilson(share: float, count: float) -> Share:
    """The p for which |share − p| − c = z √(p (1 − p) / n): never a point (Wilson, JASA 22, 1927).

    c is 1 / (2 n), the correction for continuity, for the end towards the nearer of 0 and 1, where it would lie too far
    inside (Brown, Cai & DasGupta, Statistical Science 16, 2001), and 0 for the other.

    Args:
        share: the one observed.
        count: n, not necessarily a whole number.
    """
    low = _lower_bound(share, count, corrected=share <= 0.5)
    high = 1 - _lower_bound(1 - share, count, corrected=share >= 0.5)
    return Share(share, min(low, share), max(high, share))


def _lower_bound(share: float, count: float, *, corrected: bool) -> float:
    """The smaller root in p of (1 + z²/n) p² − (2 s + z²/n) p + s² = 0, s = share − c."""
    s, spread = max(0.0, share - corrected / (2 * count)), _QUANTILE**2 / count
    middle = s + spread / 2
    return (middle - max(0.0, middle**2 - (1 + spread) * s**2) ** 0.5) / (1 + spread)


def mixed_share(first: Share, second: Share, weight: float) -> Share:
    """w p + (1 − w) q of two independent shares, by the method of variance estimates recovery.

    low = value − √[(w (p − p_low))² + ((1 − w) (q − q_low))²], and high alike: the intervals' skewness near 0 and 1 is
    kept (Zou & Donner, Statistics in Medicine 27, 2008).
    """
    value = weight * first.value + (1 - weight) * second.value
    low = math.hypot(weight * (first.value - first.low), (1 - weight) * (second.value - second.low))
    high = math.hypot(weight * (first.high - first.value), (1 - weight) * (second.high - second.value))
    return Share(value, max(0.0, value - low), min(1.0, value + high))


def part_of_hits(first: Share, second: Share, weight: float) -> Share | None:
    """R = A / (A + B), A = w p, B = (1 − w) q: how much of the hits is in the first of two parts; None without any.

    The interval is of the R for which (1 − R) A − R B may be nothing, by ``mixed_share``'s method (Fieller, JRSS B 16,
    1954; Donner & Zou, Statistical Methods in Medical Research 21, 2012).
    """
    a, a_low, a_high = (weight * p for p in first)
    b, b_low, b_high = ((1 - weight) * q for q in second)
    if a + b == 0:
        return None
    value = a / (a + b)
    bounds = []
    for end, a_spread, b_spread in ((0.0, a - a_low, b_high - b), (1.0, a_high - a, b - b_low)):
        inside, outside = value, end
        for _ in range(_HALVINGS):
            r = (inside + outside) / 2
            is_clear = abs((1 - r) * a - r * b) > math.hypot((1 - r) * a_spread, r * b_spread)
            inside, outside = (inside, r) if is_clear else (r, outside)
        bounds.append(outside)
    return Share(value, min(bounds[0], value), max(bounds[1], value))
