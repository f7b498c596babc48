"""Wrong labels told from unpredictable ones: how often a label is missed where it is sure to be predicted.

Two observers that never saw a label predict it; m is their margin, the log-odds of their common first choice. They
dissent from a label y for two reasons:

    P(dissent | m) = r + (1 − r) σ(−(α m + β)),   α ≥ 0

    σ(…)  the label is hard to predict: the dissent fades as the observers become sure
    r     the label is wrong: the dissent does not fade, however sure they are

This is the psychometric function with a lapse rate (Wichmann & Hill, "The psychometric function I", Perception &
Psychophysics 2001). Labels drawn from p(y | x), none of them wrong, have r = 0, as hard as they may be to predict.
Where wrong labels lie among the hard samples alone r is 0 too: no dissent can then tell the two apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Bool, Float, Int

# Added to a probability before its logarithm: a vote of 0 of 30 neighbours is no proof.
_LEAST = 1e-3
# Samples are gathered into so many bins of equal size by margin: the likelihood hardly sees the difference.
_BINS = 300
# Rates at which the profile is taken, first over all, then where it is within 6 of its best.
_RATES, _NEAR = 40, 6.0
# log-likelihood that a 95 % interval of one parameter gives away: half of χ²₁'s 95 % quantile.
_CUT = 1.92
# Newton steps of a profile, and the largest slope and offset of standardised margins.
_STEPS, _MOST = 60, 60.0
# Steps end where no log-likelihood moves by more.
_STILL = 1e-5


class Lapses(NamedTuple):
    """The fit, with the 95 % interval of the rate by its profile likelihood."""

    rate: float
    """r"""
    low: float
    high: float
    gain: float
    """Log-likelihood of the fit less that of the best one with r = 0."""
    curves: Float[np.ndarray, "three two"]
    """(α, β) of raw margins that fit best with ``low``, ``rate`` and ``high``."""


def consensus(p: Float[np.ndarray, "n k"], votes: Float[np.ndarray, "n k"]) -> tuple[np.ndarray, np.ndarray]:
    """(c, m): the common first choice of two observers, and its margin.

    q_j ∝ (p_j + 10⁻³) (v_j + 10⁻³),  c = argmax q,  m = log q_c − log(1 − q_c)
    """
    log_q = np.log(p.astype(np.float64) + _LEAST) + np.log(votes.astype(np.float64) + _LEAST)
    log_q -= log_q.max(1, keepdims=True)
    q = np.exp(log_q)
    choice = q.argmax(1)
    first = q[np.arange(len(q)), choice]
    rest = np.maximum(q.sum(1) - first, 1e-6 * first)
    return choice, np.log(first / rest)


def fit_lapses(margin: Float[np.ndarray, "n"], dissent: Bool[np.ndarray, "n"]) -> Lapses:
    """Maximise the binomial likelihood over (r, α, β); the interval of r is where its profile gives away ≤ 1.92.

    Args:
        margin: m, of samples whose label no observer saw.
        dissent: whether the label is not their first choice.
    """
    means, misses, sizes = _binned(margin, dissent)
    grid = np.append(0.0, np.geomspace(2e-4, float(np.clip(1.6 * dissent.mean(), 4e-4, 0.95)), _RATES))
    loss, _ = _profile(means, misses, sizes, grid)
    near = np.flatnonzero(loss - loss.min() < _NEAR)
    edges = grid[max(near[0] - 1, 0)], grid[min(near[-1] + 1, len(grid) - 1)]
    rates = np.unique(np.append(0.0, np.linspace(*edges, _RATES)))
    loss, curves = _profile(means, misses, sizes, rates)
    best, inside = int(loss.argmin()), np.flatnonzero(loss - loss.min() < _CUT)
    of = [inside[0], best, inside[-1]]
    return Lapses(float(rates[best]), float(rates[of[0]]), float(rates[of[2]]), float(loss[0] - loss.min()), curves[of])


def lapse_chance(rate: float, curve: Float[np.ndarray, "two"], margin: Float[np.ndarray, "n"]) -> np.ndarray:
    """P(wrong | dissent, m) = r / (r + (1 − r) σ(−(α m + β)))."""
    if not rate:
        return np.zeros(len(margin))
    return rate / (rate + (1 - rate) * _sigmoid(-(curve[0] * margin + curve[1])))


def _binned(margin: np.ndarray, dissent: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean margin, dissents, samples) of bins of equal size."""
    n = len(margin)
    bins = np.empty(n, np.int64)
    bins[np.argsort(margin, kind="stable")] = np.arange(n) * min(_BINS, n) // n
    sizes = np.bincount(bins).astype(np.float64)
    return np.bincount(bins, margin) / sizes, np.bincount(bins, dissent), sizes


def _profile(
    margin: Float[np.ndarray, "b"],
    misses: Float[np.ndarray, "b"],
    sizes: Float[np.ndarray, "b"],
    rates: Float[np.ndarray, "r"],
) -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r two"]]:
    """(−log-likelihood, (α, β)) of the best curve for each rate, all rates at once.

    Fisher scoring with Levenberg's damping, from three starts: the likelihood of a curve with a floor has more than one
    hill.
    """
    centre = (margin * sizes).sum() / sizes.sum()
    scale = max(float(np.sqrt((sizes * (margin - centre) ** 2).sum() / sizes.sum())), 1e-6)
    x, r = (margin - centre) / scale, rates[:, None]
    best, curves = np.full(len(rates), np.inf), np.zeros((len(rates), 2))
    for start in ((1.0, 1.0), (3.0, 3.0), (0.3, 0.0)):
        loss, found = _scoring(x, misses, sizes, r, start)
        better = loss < best
        best, curves[better] = np.where(better, loss, best), found[better]
    slope = curves[:, 0] / scale
    return best, np.stack([slope, curves[:, 1] - slope * centre], 1)


def _scoring(
    x: np.ndarray, misses: np.ndarray, sizes: np.ndarray, r: np.ndarray, start: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """(loss, (a, b)) from one start, for each rate."""

    def at(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        fade = _sigmoid(-(a[:, None] * x + b[:, None]))
        chance = np.clip(r + (1 - r) * fade, 1e-12, 1 - 1e-12)
        return -(misses * np.log(chance) + (sizes - misses) * np.log(1 - chance)).sum(1), fade, chance

    a, b = (np.full(len(r), value) for value in start)
    damping = np.full(len(r), 1e-2)
    loss, fade, chance = at(a, b)
    for _ in range(_STEPS):
        slope = (1 - r) * fade * (1 - fade)
        residual = (misses / chance - (sizes - misses) / (1 - chance)) * slope
        weight = sizes * slope**2 / (chance * (1 - chance))
        aa, ab, bb = (weight * x * x).sum(1), (weight * x).sum(1), weight.sum(1)
        aa, bb = aa * (1 + damping) + 1e-9, bb * (1 + damping) + 1e-9
        to_a, to_b, determinant = (residual * x).sum(1), residual.sum(1), aa * bb - ab**2
        new_a = np.clip(a - (bb * to_a - ab * to_b) / determinant, 0, _MOST)
        new_b = np.clip(b - (aa * to_b - ab * to_a) / determinant, -_MOST, _MOST)
        new_loss, new_fade, new_chance = at(new_a, new_b)
        good = new_loss <= loss
        still = np.abs(new_loss - loss) < _STILL
        a, b, loss = np.where(good, new_a, a), np.where(good, new_b, b), np.where(good, new_loss, loss)
        fade, chance = (np.where(good[:, None], *both) for both in ((new_fade, fade), (new_chance, chance)))
        damping = np.clip(np.where(good, damping * 0.3, damping * 10), 1e-6, 1e8)
        if still.all():
            break
    return loss, np.stack([a, b], 1)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(x, -40, 40)))


def better_than_majority(choice: Int[np.ndarray, "n"], labels: Int[np.ndarray, "n"], classes: int) -> tuple[int, int]:
    """(g, l): labels that the observers' choice hits and the most frequent label misses, and the other way round.

    Under chance g of g + l is binomial with one half (the sign test): rows where the choice is the most frequent label
    say nothing.
    """
    common = int(np.bincount(labels, minlength=classes).argmax())
    told = choice != common
    return int((told & (labels == choice)).sum()), int((told & (labels == common)).sum())
