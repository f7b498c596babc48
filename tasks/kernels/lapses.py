"""Wrong labels told from unpredictable ones: how often a label is missed where it is sure to be predicted.

Two observers that never saw a label predict it; x are the log-odds that each of them gives to their common first
choice. They dissent from a label y for two reasons:

    P(dissent | x) = r + (1 − r) σ(−(α · x + β)),   α ≥ 0

    σ(…)  the label is hard to predict: the dissent fades as the observers become sure
    r     the label is wrong: the dissent does not fade, however sure they are

This is the psychometric function with a lapse rate (Wichmann & Hill, "The psychometric function I", Perception &
Psychophysics 2001) of two stimuli. They share one slope, unless the data say clearly that each has its own: a network
may be surer than it should be where its neighbours are not. Labels drawn from p(y | x), none of them wrong, have r = 0,
as hard as they may be to predict. Where wrong labels lie among the hard samples alone r is 0 too: no dissent can then
tell the two apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Bool, Float, Int
from tasks.kernels.pieces import pieces
from tasks.kernels.wrongness import expit

# Added to a probability, and to a share of a few dozen votes, before its logarithm: none of them is a proof.
LEAST, LEAST_SHARE = 1e-3, 1e-2
# Cells that samples are gathered into, by quantiles of each log-odds: the likelihood hardly sees the difference.
_CELLS = 300
# Rates at which the profile is taken, first over all, then where it is within 6 of its best.
_RATES, _NEAR = 40, 6.0
# log-likelihood that a 95 % interval of one parameter gives away, and one whose lower end alone is asked for: half of
# χ²₁'s 95 % and 90 % quantiles.
CUT, ONE_SIDED = 1.92, 1.353
# Newton steps of a profile, the largest slope of standardised log-odds, and slopes and offset to begin with.
_STEPS, _MOST = 80, 60.0
_STARTS = ((0.7, 1.0), (2.0, 3.0), (0.2, 0.0))
# What slopes of their own must add to the log-likelihood: the rate is known less well with them.
_CLEAR = 3.0
# Steps end where no log-likelihood moves by more.
_STILL = 1e-5
# Scores that differ by less are the same: what is left of sums of equal ones is their rounding.
_ROUNDING = 1e-9


class Lapses(NamedTuple):
    """The fit, with the 95 % interval of the rate by its profile likelihood."""

    rate: float
    """r"""
    low: float
    high: float
    sure: float
    """What the rate exceeds with a certainty of 95 %; 0 where ``low`` is."""
    gain: float
    """Log-likelihood of the fit less that of the best one with r = 0."""
    curves: Float[np.ndarray, "four g"]
    """(α, β) that fit best with ``low``, ``rate``, ``high`` and ``sure``; the exponents of
    tasks/kernels/pools.py of a pool of labels."""


def consensus(p: Float[np.ndarray, "n k"], votes: Float[np.ndarray, "n k"]) -> tuple[np.ndarray, np.ndarray]:
    """(c, x): the common first choice of two observers, n, and the log-odds that each of them gives to it, n × 2.

    c = argmax_j (p_j + 10⁻³) (v_j + 10⁻³),  x = (log (p_c + 10⁻³)/(1 − p_c + 10⁻³), log (v_c + .01)/(1 − v_c + .01))
    """
    choice = np.empty(len(p), np.int64)
    for some in pieces(*p.shape):
        choice[some] = ((p[some].astype(np.float64) + LEAST) * (votes[some].astype(np.float64) + LEAST)).argmax(1)
    rows = np.arange(len(p))
    own = [(q[rows, choice].astype(np.float64), least) for q, least in ((p, LEAST), (votes, LEAST_SHARE))]
    odds = [np.log(np.maximum(q, 0) + least) - np.log(np.maximum(1 - q, 0) + least) for q, least in own]
    return choice, np.stack(odds, 1)


def fit_lapses(odds: Float[np.ndarray, "n f"], dissent: Bool[np.ndarray, "n"]) -> Lapses:
    """Maximise the binomial likelihood over (r, α, β); the interval of r is where its profile gives away < 1.92.

    Args:
        odds: x, of samples whose label no observer saw.
        dissent: whether the label is not their first choice.
    """
    means, misses, sizes = _cells(odds, dissent)
    # The product of two observers' odds has the sum of their logarithms.
    together = _fit(means.sum(1, keepdims=True), misses, sizes)
    apart = _fit(means, misses, sizes) if means.shape[1] > 1 else together
    loss, rates, curves = apart if apart[0].min() < together[0].min() - _CLEAR else together
    best, worse = int(loss.argmin()), loss - loss.min()
    low, high = _end(worse, CUT, first=True), _end(worse, CUT, first=False)
    # Whether there are wrong labels at all is asked both ways.
    surely = _end(worse, ONE_SIDED, first=True) if low else low
    at = np.array([low, best, high, surely])
    places = np.arange(len(rates))
    ends = np.stack([np.interp(at, places, column) for column in (rates, *curves.T)], 1)
    slopes = np.broadcast_to(ends[:, 1:-1], (len(at), odds.shape[1]))
    low, rate, high, sure = ends[:, 0].tolist()
    return Lapses(rate, low, high, sure, float(worse[0]), np.column_stack([slopes, ends[:, -1]]))


def _end(worse: Float[np.ndarray, "r"], cut: float, *, first: bool) -> float:
    """The place along a profile where it gives away just ``cut``, between the last point within and the one beyond.

    To take the point itself would be a step too near: at 1,445 samples up to 4 % of a rate's lower end.
    """
    inside = np.flatnonzero(worse < cut)
    at = int(inside[0] if first else inside[-1])
    beyond = at - 1 if first else at + 1
    if not 0 <= beyond < len(worse):
        return float(at)
    return at + (beyond - at) * float((cut - worse[at]) / (worse[beyond] - worse[at]))


def _fit(odds: np.ndarray, misses: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(−log-likelihood, rate, curve) along the profile of the rate, dense where it is near its best."""
    dissent = misses.sum() / sizes.sum()
    grid = np.append(0.0, np.geomspace(2e-4, float(np.clip(1.6 * dissent, 4e-4, 0.95)), _RATES))
    loss, _ = _profile(odds, misses, sizes, grid)
    if loss[-1] - loss.min() < CUT:
        # Of few dissents, of none above all, 1.6 times as many is not the most that may be: as many give away 6 here.
        most = (misses.sum() + 6 + np.sqrt(12 * misses.sum() + 36)) / sizes.sum()
        grid = np.append(grid, np.geomspace(grid[-1], np.clip(most, 1.01 * grid[-1], 0.99), 9)[1:])
        loss, _ = _profile(odds, misses, sizes, grid)
    near = np.flatnonzero(loss - loss.min() < _NEAR)
    edges = grid[max(near[0] - 1, 0)], grid[min(near[-1] + 1, len(grid) - 1)]
    rates = np.unique(np.append(0.0, np.linspace(*edges, _RATES)))
    loss, curves = _profile(odds, misses, sizes, rates)
    return loss, rates, curves


def lapse_chance(rate: float, curve: Float[np.ndarray, "g"], odds: Float[np.ndarray, "n f"]) -> np.ndarray:
    """P(wrong | dissent, x) = r / (r + (1 − r) σ(−(α · x + β)))."""
    if not rate:
        return np.zeros(len(odds))
    return rate / (rate + (1 - rate) * expit(-(odds @ curve[:-1] + curve[-1])))


def _cells(odds: np.ndarray, dissent: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(mean log-odds, dissents, samples) of the cells that hold any."""
    n, f = odds.shape
    each = int(np.ceil(_CELLS ** (1 / f)))
    cell = np.zeros(n, np.int64)
    for column in odds.T:
        rank = np.empty(n, np.int64)
        rank[np.argsort(column, kind="stable")] = np.arange(n) * min(each, n) // n
        cell = cell * each + rank
    _, cell = np.unique(cell, return_inverse=True)
    sizes = np.bincount(cell).astype(np.float64)
    means = np.stack([np.bincount(cell, column) for column in odds.T], 1) / sizes[:, None]
    return means, np.bincount(cell, dissent), sizes


def _profile(
    odds: Float[np.ndarray, "b f"],
    misses: Float[np.ndarray, "b"],
    sizes: Float[np.ndarray, "b"],
    rates: Float[np.ndarray, "r"],
) -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r g"]]:
    """(−log-likelihood, (α, β)) of the best curve for each rate, all rates at once.

    Fisher scoring with Levenberg's damping, from three starts: the likelihood of a curve with a floor has more than one
    hill.
    """
    weights = sizes[:, None] / sizes.sum()
    centre = (odds * weights).sum(0)
    scale = np.maximum(np.sqrt(((odds - centre) ** 2 * weights).sum(0)), 1e-6)
    x = np.column_stack([(odds - centre) / scale, np.ones(len(odds))])
    best, curves = np.full(len(rates), np.inf), np.zeros((len(rates), x.shape[1]))
    for slope, offset in _STARTS:
        start = np.append(np.full(odds.shape[1], slope), offset)
        loss, fitted = _scoring(x, misses, sizes, rates[:, None], start)
        better = loss < best
        best, curves[better] = np.where(better, loss, best), fitted[better]
    slopes = curves[:, :-1] / scale
    return best, np.column_stack([slopes, curves[:, -1] - slopes @ centre])


def _scoring(
    x: Float[np.ndarray, "b g"],
    misses: Float[np.ndarray, "b"],
    sizes: Float[np.ndarray, "b"],
    r: Float[np.ndarray, "r one"],
    start: Float[np.ndarray, "g"],
) -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r g"]]:
    """(loss, curve) from one start, for each rate."""
    ends, losses = np.tile(start, (len(r), 1)), np.empty(len(r))
    curves, damping, eye = ends, np.full((len(r), 1, 1), 1e-2), np.eye(len(start))
    moving = np.arange(len(r))
    loss, fade, chance = _loss(x, misses, sizes, curves, r)
    for _ in range(_STEPS):
        slope = (1 - r) * fade * (1 - fade)
        gradient = ((misses / chance - (sizes - misses) / (1 - chance)) * slope) @ x
        weight = sizes * slope**2 / (chance * (1 - chance))
        fisher = np.stack([(weight * column) @ x for column in x.T], 1)
        fisher = fisher * (1 + damping * eye) + 1e-9 * eye
        new = curves - np.linalg.solve(fisher, gradient[..., None])[..., 0]
        new[:, :-1] = np.clip(new[:, :-1], 0, _MOST)
        new_loss, new_fade, new_chance = _loss(x, misses, sizes, new, r)
        good = new_loss <= loss
        still = good & (loss - new_loss < _STILL)
        curves, loss = np.where(good[:, None], new, curves), np.where(good, new_loss, loss)
        fade, chance = (np.where(good[:, None], *both) for both in ((new_fade, fade), (new_chance, chance)))
        damping = np.clip(np.where(good[:, None, None], damping * 0.3, damping * 10), 1e-6, 1e8)
        ends[moving], losses[moving] = curves, loss
        if still.any():
            left = ~still
            moving, curves, loss, fade, chance, damping, r = (
                each[left] for each in (moving, curves, loss, fade, chance, damping, r)
            )
        if not len(moving):
            break
    return losses, ends


def _loss(
    x: np.ndarray, misses: np.ndarray, sizes: np.ndarray, curves: np.ndarray, r: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(−log-likelihood, σ(−(α · x + β)), P(dissent | x)) of a curve for each rate."""
    fade = expit(-(curves @ x.T))
    chance = np.clip(r + (1 - r) * fade, 1e-12, 1 - 1e-12)
    return -(misses * np.log(chance) + (sizes - misses) * np.log(1 - chance)).sum(1), fade, chance


def label_evidence(p: Float[np.ndarray, "n k"], votes: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]) -> float:
    """How many standard errors the labels are likelier to two observers than the same labels in any other order.

    T = Σ_i s_i,y(i) with s_ij = log (p_ij + 10⁻³) + log (v_ij + 10⁻³), against its mean and variance over all orders of
    the labels, n_j of them class j (Hoeffding, "A combinatorial central limit theorem", Ann. Math. Stat. 1951):

        z = Σ_i d_i,y(i) / √(2 Σ_ij n_j d_ij² / (n − 1)),   d_ij = s_ij − s_i· − s_·j + s_··

    The 2: of two samples alike each is a witness of the other, so that what their labels have in common by chance
    counts twice, and no more than twice. Where the observers know nothing z varies no more than a standard normal does,
    however unlike in size the classes are. A class that is nowhere the first choice counts like any other. Observers
    that say the same of every sample know nothing: z = 0.
    """
    n, counts = len(labels), np.bincount(labels, minlength=p.shape[1])
    borne: list[int] = np.flatnonzero(counts).tolist()
    expected = np.zeros(n)
    for j in borne:
        expected += counts[j] / n * _joint_log(p, votes, j)
    total = variance = 0.0
    for j in borne:
        beyond = _joint_log(p, votes, j) - expected
        beyond -= beyond.mean()
        total += beyond[labels == j].sum()
        variance += counts[j] * (beyond @ beyond)
    return float(total / np.sqrt(2 * variance / (n - 1))) if variance > (n * _ROUNDING) ** 2 else 0.0


def _joint_log(p: np.ndarray, votes: np.ndarray, j: int) -> np.ndarray:
    """s_ij of one class j."""
    own, other = (np.log(np.maximum(q[:, j].astype(np.float64), 0) + LEAST) for q in (p, votes))
    return own + other
