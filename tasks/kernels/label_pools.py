"""Wrong labels told from unpredictable ones by what they say: labels that no doubt of the observers' explains.

Two observers that never saw a label y say how likely each class is, p and v. A label is what it is for two reasons:

    P(y | x) = r u_y + (1 − r) q_y,   q_j ∝ p_j^α v_j^β π_j^γ,   α, β ≥ 0

    q    the label is hard to predict: the logarithmic pool of network, neighbours and the frequency π of each class
         (Genest & Zidek, "Combining probability distributions", Statistical Science 1986), as sure as the labels show
    r    the label is wrong: any other class than their first choice c, u_j = δ_j / (1 − δ_c), δ the frequency of each
         class among the labels that are not the first choice

Dissent from a label that is hard to predict fades as the observers become sure, and goes where their second thoughts
go; dissent from a wrong label does neither. tasks/kernels/lapses.py looks at the first alone, of one class at a time;
this asks how likely each label is as well. Labels drawn from p(y | x), none of them wrong, have r = 0, as hard as they
may be to predict. Where the classes' frequencies explain the labels as well as both observers do (α = β = 0, γ = 1)
nothing is known of r. Wrong labels of the class that the observers think of next, as of pairs of classes, have r = 0
too: what is seen here is the least that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Float, Int
from tasks.kernels.lapses import CUT, LEAST, LEAST_SHARE, ONE_SIDED, Lapses, consensus

# Probabilities that are fitted to, at most: of more samples times classes every so many-th sample is.
_MOST_FITTED = 1 << 19
# Probabilities that are looked at in one go.
_BLOCK = 1 << 20
# Rates at which the profile is taken, first over all, then twice where it is within 6 of its best.
_RATES, _NEAR = (10, 12, 24), 6.0
# Pools to begin with, steps of a fit at most, and what no step moves the log-likelihood by at the end.
_STARTS = (np.array([0.5, 0.5, 0.0]), np.array([0.1, 0.1, 0.0]))
_STEPS, _STILL = 60, 1e-3
# Between which a pool's exponents lie.
_LOWEST, _HIGHEST = np.array([0.0, 0.0, -5.0]), np.array([60.0, 60.0, 5.0])


class _Said(NamedTuple):
    """What the likelihood of m labels is made of."""

    logs: Float[np.ndarray, "three m k"]
    """log p, log v and log π of each class less those of the first choice."""
    labels: Int[np.ndarray, "m"]
    lapse: Float[np.ndarray, "m"]
    """u_y; 0 where the label is the first choice."""


def fit_pools(p: Float[np.ndarray, "n k"], votes: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]) -> Lapses:
    """Maximise the likelihood over (r, α, β, γ); the interval of r is where its profile gives away < 1.92.

    Args:
        p: of the held-out network.
        votes: shares of the neighbours' labels.
        labels: y, which neither has seen.
    """
    n, k = p.shape
    every = slice(None, None, -(-n * k // _MOST_FITTED))
    said = _said(p[every], votes[every], labels[every], *_frequencies(p, votes, labels))
    dissent = float((said.lapse > 0).mean())
    rates = np.append(0.0, np.geomspace(1e-3, float(np.clip(1.6 * dissent, 4e-3, 0.95)), _RATES[0]))
    loss, pools = _profile(said, rates, 0.0, _STARTS)
    for count in _RATES[1:]:
        near = np.flatnonzero(loss - loss.min() < _NEAR)
        edges = rates[max(near[0] - 1, 0)], rates[min(near[-1] + 1, len(rates) - 1)]
        start = float(rates[loss.argmin()])
        rates = np.unique(np.append(0.0, np.linspace(*edges, count)))
        loss, pools = _profile(said, rates, start, (pools[loss.argmin()],))
    best, inside = int(loss.argmin()), np.flatnonzero(loss - loss.min() < CUT).tolist()
    surely = int(np.flatnonzero(loss - loss.min() < ONE_SIDED)[0])

    # An end lies between two rates, and is taken to be the outer one; whether there are wrong labels at all is no
    # question of that, and the same by one end as by both.
    def outward(index: int) -> int:
        return max(index - 1, 1) if rates[inside[0]] else 0

    ends = [outward(inside[0]), best, min(inside[-1] + 1, len(rates) - 1), outward(surely)]
    low, rate, high, sure = rates[ends].tolist()
    return Lapses(rate, low, high, sure, float(loss[0] - loss.min()), pools[ends])


def pool_chance(
    rate: float,
    pool: Float[np.ndarray, "three"],
    p: Float[np.ndarray, "n k"],
    votes: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, "n"],
) -> Float[np.ndarray, "n"]:
    """P(wrong | y, x) = r u_y / (r u_y + (1 − r) q_y)."""
    n, k = p.shape
    chance = np.zeros(n)
    if not rate:
        return chance
    frequencies = _frequencies(p, votes, labels)
    for start in range(0, n, max(1, _BLOCK // k)):
        rows = slice(start, start + max(1, _BLOCK // k))
        said = _said(p[rows], votes[rows], labels[rows], *frequencies)
        wrong, right = rate * said.lapse, (1 - rate) * _pooled(said, pool)[0]
        chance[rows] = wrong / np.maximum(wrong + right, 1e-300)
    return chance


def _frequencies(p: np.ndarray, votes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(π, δ) of all labels and of those that are not the first choice, with half a label more of each class."""
    dissent = labels[labels != consensus(p, votes)[0]]
    counts = [np.bincount(some, minlength=p.shape[1]) + 0.5 for some in (labels, dissent)]
    return counts[0] / counts[0].sum(), counts[1] / counts[1].sum()


def _said(p: np.ndarray, votes: np.ndarray, labels: np.ndarray, frequencies: np.ndarray, dissents: np.ndarray) -> _Said:
    choice, rows = consensus(p, votes)[0], np.arange(len(p))
    logs = np.empty((3, *p.shape))
    logs[0] = np.log(np.maximum(p, 0).astype(np.float64) + LEAST)
    logs[1] = np.log(np.maximum(votes, 0).astype(np.float64) + LEAST_SHARE)
    logs[2] = np.log(frequencies)
    logs -= logs[:, rows, choice][..., None]
    lapse = np.where(labels == choice, 0.0, dissents[labels] / (1 - dissents[choice]))
    return _Said(logs, labels, lapse)


def _pooled(said: _Said, pool: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(q_y, the slopes of log q_y by the exponents), m and m × 3."""
    scores = np.tensordot(pool, said.logs, 1)
    q = np.exp(scores - scores.max(1, keepdims=True))
    q /= q.sum(1, keepdims=True)
    rows = np.arange(len(q))
    slopes = [
        own - np.einsum("mk,mk->m", q, log) for own, log in zip(said.logs[:, rows, said.labels], said.logs, strict=True)
    ]
    return q[rows, said.labels], np.stack(slopes, 1)


def _profile(
    said: _Said, rates: Float[np.ndarray, "r"], first: float, starts: Sequence[np.ndarray]
) -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r three"]]:
    """(−log-likelihood, pool) of the best pool for each rate, from ``first`` outwards, each begun from the one before.

    From each start: the likelihood of a pool with a floor has more than one hill.
    """
    best, pools = np.full(len(rates), np.inf), np.zeros((len(rates), 3))
    middle = int(np.abs(rates - first).argmin())
    for start in starts:
        for order in (range(middle, len(rates)), range(middle - 1, -1, -1)):
            pool = start
            for i in order:
                loss, pool = _ascend(said, float(rates[i]), pool)
                if loss < best[i]:
                    best[i], pools[i] = loss, pool
    return best, pools


def _ascend(said: _Said, rate: float, pool: np.ndarray) -> tuple[float, np.ndarray]:
    """(−log-likelihood, pool) from one start, by scoring with the slopes' outer products and Levenberg's damping."""

    def at(pool: np.ndarray) -> tuple[float, np.ndarray]:
        q, slopes = _pooled(said, pool)
        right = (1 - rate) * q
        chance = np.maximum(rate * said.lapse + right, 1e-12)
        return -float(np.log(chance).sum()), slopes * (right / chance)[:, None]

    damping = 1e-2
    loss, slopes = at(pool)
    for _ in range(_STEPS):
        gradient, curvature = slopes.sum(0), slopes.T @ slopes
        curvature += damping * np.diag(np.diag(curvature) + 1e-6)
        new = pool + np.linalg.solve(curvature, gradient)
        # An exponent that would leave its bound stays there, and the others step without it.
        free = ~(((pool <= _LOWEST) & (new < _LOWEST)) | ((pool >= _HIGHEST) & (new > _HIGHEST)))
        new = pool.copy()
        new[free] += np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
        new = np.clip(new, _LOWEST, _HIGHEST)
        new_loss, new_slopes = at(new)
        if new_loss > loss:
            damping *= 10
            if damping > 1e8:
                break
            continue
        still = loss - new_loss < _STILL
        loss, pool, slopes, damping = new_loss, new, new_slopes, max(damping * 0.3, 1e-7)
        if still:
            break
    return loss, pool
