"""Scales and weights of signals, by penalised logistic regression; weights of opinions, by linear discriminants."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

# Least spread of a signal: one that is the same for all samples says nothing.
_LEAST_SPREAD = 1e-9
# Least variance of margins between −1 and 1: an opinion that is never seen to err is not believed without end.
_LEAST_VARIANCE = 0.1


class Scale(NamedTuple):
    """z = (f(x) − mean)/spread of s signals, with f(x) = x, or asinh((x − middle)/(2 width)) where they are bent.

    A straight scale keeps the log-odds that most signals are. A bent one is as good as straight near the middle and
    logarithmic in the tails: a few samples far out, as gradients of numbers and sets have them, spread no signal.
    """

    mean: np.ndarray
    spread: np.ndarray
    bend: tuple[np.ndarray, np.ndarray] | None = None
    """(middle, width) by signal."""

    def __call__(self, signals: np.ndarray) -> np.ndarray:
        """n × s, of mean 0 and variance 1 among the samples that it is of."""
        return (_bent(signals, self.bend) - self.mean) / self.spread


def scales_of(signals: np.ndarray) -> tuple[Scale, Scale]:
    """The straight and the bent scale of n × s signals.

    A width is σ by the median deviation, 1.48 med |x − med x|; the standard deviation where most samples share a value.
    """
    middle, deviation = np.median(signals, 0), signals.std(0)
    width = 1.4826 * np.median(np.abs(signals - middle), 0)
    bend = (middle, np.maximum(np.where(width > 0, width, deviation), _LEAST_SPREAD))
    bent = _bent(signals, bend)
    return (
        Scale(signals.mean(0), np.maximum(deviation, _LEAST_SPREAD)),
        Scale(bent.mean(0), np.maximum(bent.std(0), _LEAST_SPREAD), bend),
    )


def _bent(signals: np.ndarray, bend: tuple[np.ndarray, np.ndarray] | None) -> np.ndarray:
    return signals if bend is None else np.arcsinh((signals - bend[0]) / (2 * bend[1]))


class Weights(NamedTuple):
    """What ``weigh`` finds."""

    slopes: np.ndarray
    """w ≥ 0, s"""
    bias: float
    """b"""
    loss: float
    """What is minimised, at its least."""


class OpinionWeights(NamedTuple):
    """What o opinions add to the log-odds that a label is wrong."""

    slopes: np.ndarray
    """v ≥ 0, in nats for a margin of 1"""
    middles: np.ndarray
    """The margin that speaks neither for nor against a label."""

    def log_odds(self, margins: np.ndarray) -> np.ndarray:
        """Σ v (m − middle) over the opinions that say something of a sample, n; margins of silent ones are NaN."""
        return np.where(np.isnan(margins), 0, self.slopes * (margins - self.middles)).sum(1)


def weigh_opinions(margins: np.ndarray, canaries: np.ndarray) -> OpinionWeights:
    """Of each opinion the log-likelihood ratio of two Gaussians with one variance, as Fisher's discriminant has it:

        v = max(μ₁ − μ₀ − s, 0)/σ²,    middle = (μ₀ + μ₁)/2,    s = σ √(1/m + 1/n)

    with μ₁ the mean margin of the canaries' planted labels, known to be wrong, μ₀ that of all other labels, σ² the mean
    of both variances, and s the standard error by which the difference may be chance. Whoever comes from outside errs
    by itself, so that its ratio is added to what the run's own observers say. (A regression on what they believe would
    give an opinion no weight where it knows better.)

    Args:
        margins: of the other labels, n × o; NaN where an opinion says nothing.
        canaries: of the canaries' planted labels, m × o.
    """
    slopes, middles = np.zeros(margins.shape[1]), np.zeros(margins.shape[1])
    for i, (right, wrong) in enumerate(zip(margins.T, canaries.T, strict=True)):
        right, wrong = right[~np.isnan(right)], wrong[~np.isnan(wrong)]
        if not len(right) or not len(wrong):
            continue
        variance = max((right.var() + wrong.var()) / 2, _LEAST_VARIANCE)
        error = np.sqrt(variance * (1 / len(right) + 1 / len(wrong)))
        slopes[i] = max(wrong.mean() - right.mean() - error, 0) / variance
        middles[i] = (wrong.mean() + right.mean()) / 2
    return OpinionWeights(slopes, middles)


def weigh(
    signals: np.ndarray,
    chances: np.ndarray,
    canaries: np.ndarray,
    canary_weight: float,
    evenness: float,
    kinds: np.ndarray | None = None,
) -> Weights:
    """w ≥ 0 and b that minimise, with σ the logistic function and ℓ the log loss,

        mean_i ℓ(chances_i, σ(w·x_i + b)) + canary_weight · mean_j ℓ(1, σ(w·x_j + b)) + evenness/2 Σ (w − mean w)²

    the second mean weighted by ``kinds``.

    Args:
        signals: n × s, standardised.
        chances: n, the chance that each of them is wrong.
        canaries: m × s, of labels known to be wrong, standardised alike.
        canary_weight: of all canaries together.
        evenness: draws the weights towards their mean.
        kinds: m, how much each canary counts beside the others, > 0; all alike by default.
    """
    from scipy.optimize import minimize

    x = np.concatenate([signals, canaries])
    target = np.concatenate([chances, np.ones(len(canaries))])
    kinds = np.ones(len(canaries)) if kinds is None else kinds
    share = np.append(np.full(len(signals), 1 / max(len(signals), 1)), canary_weight * kinds / max(kinds.sum(), 1e-12))

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        w, b = parameters[:-1], parameters[-1]
        z = x @ w + b
        slope = share * (np.exp(-np.logaddexp(0, -z)) - target)
        uneven = w - w.mean()
        value = (share * (np.logaddexp(0, z) - target * z)).sum() + evenness / 2 * (uneven**2).sum()
        return value, np.append(x.T @ slope + evenness * uneven, slope.sum())

    start = np.append(np.full(x.shape[1], 0.5), -1.0)
    bounds = [(0, None)] * x.shape[1] + [(None, None)]
    # Where labels are told apart without doubt the loss is flat: the usual tolerance would stop where rounding says.
    exactly = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    solution = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B", options=exactly)
    return Weights(solution.x[:-1], float(solution.x[-1]), float(solution.fun))
