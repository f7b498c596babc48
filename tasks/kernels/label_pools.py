"""Wrong labels told from unpredictable ones by what they say: labels that no doubt of the observers' explains.

Two observers that never saw a label y say how likely each class is, p and v. A label is what it is for two reasons:

    P(y | x) = r u_y + (1 − r) q_y,   q_j ∝ p_j^(α + α′h) v_j^(β + β′h) π_j^γ,   α, β, α′, β′ ≥ 0

    q    the label is hard to predict: the logarithmic pool of network, neighbours and the frequency π of each class
         (Genest & Zidek, "Combining probability distributions", Statistical Science 1986), as sure as the labels show
    h    how sure the observers are, from 0 to 1. Where some inputs say nothing and others much, one exponent for all
         fits neither, and the labels of the former would pass for wrong ones. Surer observers deserve no less trust
         (α′, β′ ≥ 0); if they could, they would explain away dissent that does not fade
    r    the label is wrong: any other class than their first choice c, u_j = δ_j / (1 − δ_c), δ the frequency of each
         class among the labels that are not the first choice

Dissent from a label that is hard to predict fades as the observers become sure, and goes where their second thoughts
go; dissent from a wrong label does neither. tasks/kernels/lapses.py looks at the first alone, of one class at a time;
this asks how likely each label is as well. Labels drawn from p(y | x), none of them wrong, have r = 0, as hard as they
may be to predict. Where the classes' frequencies explain the labels as well as both observers do (all exponents 0 but
γ = 1) nothing is known of r. Wrong labels of the class that the observers think of next, as of pairs of classes, have
r = 0 too: what is seen here is the least that is wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Bool, Float, Int
from tasks.kernels.lapses import CUT, LEAST, LEAST_SHARE, ONE_SIDED, Lapses, consensus
from tasks.kernels.pieces import pieces

# Probabilities that are fitted to, at most: of more samples times classes every so many-th sample is.
_MOST_FITTED = 1 << 19
# Odds that are made in one go: they stay in cache.
_BLOCK = 1 << 15
# Probabilities of samples whose chance is asked for in one go.
_ASKED = 1 << 20
# Rates at which the profile is taken, first over all, then twice where it is within 6 of its best.
_RATES, _NEAR = (10, 12, 24), 6.0
# The pool to begin with, steps of a fit at most, and what no step moves the log-likelihood by at the end.
_START = np.array([0.5, 0.5, 0.0, 0.0, 0.0])
_STEPS, _STILL = 60, 1e-3
# Between which a pool's exponents lie.
_LOWEST, _HIGHEST = np.array([0.0, 0.0, -5.0, 0.0, 0.0]), np.array([30.0, 30.0, 5.0, 30.0, 30.0])
# Quantiles of the log-odds of the first choice that are h = 0 and 1.
_ENDS = (0.01, 0.99)


class _Said(NamedTuple):
    """What the likelihood of m labels is made of, the d of them first that are not the first choice."""

    logs: Sequence[Float[np.ndarray, "three others b"]]
    """log p, log v and log π of each class but the first choice, less those of the first choice, of b labels a block.

    Classes stand before labels, so that sums over few classes are sums of long rows.
    """
    own: Float[np.ndarray, "three d"]
    """The same of y."""
    sure: Float[np.ndarray, "m"]
    """h"""
    lapse: Float[np.ndarray, "d"]
    """u_y"""


class _Pool(NamedTuple):
    """The pool of some exponents, with what every rate needs of it."""

    exponents: Float[np.ndarray, "five"]
    """(α, β, γ, α′, β′)"""
    q: Float[np.ndarray, "m"]
    """q_y"""
    slopes: Float[np.ndarray, "five m"]
    """of log q_y by the exponents"""


def fit_pools(
    p: Float[np.ndarray, "n k"],
    votes: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, "n"],
    counted: Bool[np.ndarray, "n"] | None = None,
) -> Lapses:
    """Maximise the likelihood over (r, α, β, γ, α′, β′); the interval of r is where its profile gives away < 1.92.

    Args:
        p: of the held-out network.
        votes: shares of the neighbours' labels.
        labels: y, which neither has seen.
        counted: the labels that are evidence, and that r is a share of; all, by default.
    """
    n, k = p.shape
    counted = np.ones(n, bool) if counted is None else counted
    (choice, odds), rows = consensus(p, votes), np.flatnonzero(counted)
    rows = rows[:: -(-len(rows) * k // _MOST_FITTED)]
    rows = rows[np.argsort(labels[rows] == choice[rows], kind="stable")]
    said = _said(p, votes, labels, choice, _sureness(odds), rows, counted)
    dissent = len(said.lapse) / len(rows)
    rates = np.append(0.0, np.geomspace(1e-3, float(np.clip(1.6 * dissent, 4e-3, 0.95)), _RATES[0]))
    # At the rate 0 the likelihood has one hill, a logistic regression's, so that one start is as good as any.
    loss, pools = _profile(said, rates, 0.0, _START)
    for count in _RATES[1:]:
        near = np.flatnonzero(loss - loss.min() < _NEAR)
        edges = rates[max(near[0] - 1, 0)], rates[min(near[-1] + 1, len(rates) - 1)]
        start = float(rates[loss.argmin()])
        rates = np.unique(np.append(0.0, np.linspace(*edges, count)))
        loss, pools = _profile(said, rates, start, pools[loss.argmin()])
    best, inside = int(loss.argmin()), np.flatnonzero(loss - loss.min() < CUT).tolist()
    surely = int(np.flatnonzero(loss - loss.min() < ONE_SIDED)[0])
    # An end lies between two rates, and is taken to be the outer one; whether there are wrong labels at all is no
    # question of that, and the same by one end as by both.
    first, surely = (max(index - 1, 1) if rates[inside[0]] else 0 for index in (inside[0], surely))
    ends = [first, best, min(inside[-1] + 1, len(rates) - 1), surely]
    low, rate, high, sure = rates[ends].tolist()
    return Lapses(rate, low, high, sure, float(loss[0] - loss.min()), pools[ends])


def pool_chance(
    rate: float,
    pool: Float[np.ndarray, "five"],
    p: Float[np.ndarray, "n k"],
    votes: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, "n"],
    counted: Bool[np.ndarray, "n"] | None = None,
) -> Float[np.ndarray, "n"]:
    """P(wrong | y, x) = r u_y / (r u_y + (1 − r) q_y), 0 where the label is the first choice or not ``counted``."""
    n, k = p.shape
    chance = np.zeros(n)
    if not rate:
        return chance
    counted = np.ones(n, bool) if counted is None else counted
    choice, odds = consensus(p, votes)
    sure = _sureness(odds)
    dissents = np.flatnonzero((labels != choice) & counted)
    for some in pieces(len(dissents), k, _ASKED):
        rows = dissents[some]
        said = _said(p, votes, labels, choice, sure, rows, counted)
        wrong, right = rate * said.lapse, (1 - rate) * _pooled(said, pool).q
        chance[rows] = wrong / np.maximum(wrong + right, 1e-300)
    return chance


def _sureness(odds: Float[np.ndarray, "n two"]) -> Float[np.ndarray, "n"]:
    """h: the log-odds of both observers, x₁ + x₂, from their lowest hundredth to their highest."""
    together = odds.sum(1)
    low, high = np.quantile(together, _ENDS)
    return np.clip((together - low) / max(high - low, 1e-9), 0, 1)


def _said(
    p: np.ndarray,
    votes: np.ndarray,
    labels: np.ndarray,
    choice: np.ndarray,
    sure: np.ndarray,
    rows: np.ndarray,
    counted: np.ndarray,
) -> _Said:
    """Of the labels in ``rows``, where those that are not the first choice stand before all others.

    π and δ are frequencies among all labels that are counted, with half a label more of each class.
    """
    k, missed = p.shape[1], labels != choice
    counts = [np.bincount(some, minlength=k) + 0.5 for some in (labels[counted], labels[counted & missed])]
    frequencies, dissents = (each / each.sum() for each in counts)
    logs, own = [], []
    for some in pieces(len(rows), k - 1, _BLOCK):
        block, of = np.empty((3, k, len(rows[some]))), rows[some]
        block[0] = np.log(np.maximum(p[of].T, 0).astype(np.float64) + LEAST)
        block[1] = np.log(np.maximum(votes[of].T, 0).astype(np.float64) + LEAST_SHARE)
        block[2] = np.log(frequencies)[:, None]
        first, places = choice[of], np.arange(len(of))
        block -= block[:, first, places][:, None]
        own.append(block[:, labels[of], places])
        # The last class takes the place of the first choice, of which nothing but zeros is left.
        block[:, first, places] = block[:, -1]
        logs.append(block[:, :-1].copy())
    dissenting = rows[: np.count_nonzero(missed[rows])]
    lapse = dissents[labels[dissenting]] / (1 - dissents[choice[dissenting]])
    return _Said(logs, np.concatenate(own, 1)[:, : len(lapse)], sure[rows], lapse)


def _pooled(said: _Said, exponents: np.ndarray) -> _Pool:
    """q_y = e^s_y / Σ_j e^s_j, s_j = (α + α′h, β + β′h, γ) · logs_j, s_c = 0.

    The slopes of its logarithm are logs_y − Σ_j q_j logs_j, and h times those of α and β for α′ and β′.

    A float64 holds every e^s_j: to one observer at most is another class likelier than the first choice, so that
    s_j < 60 log 1001 + 5 log(2n + 1), and that is below 709 for any n.
    """
    d, end = len(said.lapse), 0
    m = len(said.sure)
    weights = np.repeat(exponents[:3, None], m, 1)
    weights[:2] += exponents[3:, None] * said.sure
    q, slopes = np.ones(m), np.zeros((5, m))
    q[:d], slopes[:3, :d] = np.exp(np.einsum("am,am->m", weights[:, :d], said.own)), said.own
    for logs in said.logs:
        block = slice(end, end := end + logs.shape[2])
        odds = np.einsum("am,akm->km", weights[:, block], logs)
        np.exp(odds, out=odds)
        total = 1 + odds.sum(0)
        q[block] /= total
        slopes[:3, block] -= np.einsum("akm,km->am", logs, odds) / total
    slopes[3:] = slopes[:2] * said.sure
    return _Pool(exponents, q, slopes)


def _profile(
    said: _Said, rates: Float[np.ndarray, "r"], first: float, start: Float[np.ndarray, "five"]
) -> tuple[Float[np.ndarray, "r"], Float[np.ndarray, "r five"]]:
    """(−log-likelihood, exponents) of a pool for each rate, from ``first`` up and down, both ways from ``start``.

    Each is begun from its neighbour's: above the rate 0 there may be several hills, and one is followed.
    """
    best, pools = np.full(len(rates), np.inf), np.zeros((len(rates), len(start)))
    middle, begin = int(np.abs(rates - first).argmin()), _pooled(said, start)
    for order in (range(middle, len(rates)), range(middle - 1, -1, -1)):
        pool = begin
        for i in order:
            best[i], pool = _ascend(said, float(rates[i]), pool)
            pools[i] = pool.exponents
    return best, pools


def _ascend(said: _Said, rate: float, pool: _Pool) -> tuple[float, _Pool]:
    """(−log-likelihood, pool) from one start, by scoring with the slopes' outer products and Levenberg's damping."""
    wrong, damping = rate * said.lapse, 1e-2
    loss, right = _loss(rate, wrong, pool)
    gradient, curvature = _derivatives(pool, right)
    for _ in range(_STEPS):
        new = _pooled(said, _step(pool.exponents, gradient, curvature, damping))
        new_loss, right = _loss(rate, wrong, new)
        if new_loss > loss:
            damping *= 10
            if damping > 1e8:
                break
            continue
        still = loss - new_loss < _STILL
        loss, pool, damping = new_loss, new, max(damping * 0.3, 1e-7)
        if still:
            break
        gradient, curvature = _derivatives(pool, right)
    return loss, pool


def _loss(rate: float, wrong: np.ndarray, pool: _Pool) -> tuple[float, np.ndarray]:
    """(−Σ log P(y), P(right | y)); ``wrong`` is r u_y of the labels that are not the first choice."""
    right = (1 - rate) * pool.q
    chance = right.copy()
    chance[: len(wrong)] += wrong
    np.maximum(chance, 1e-12, out=chance)
    return -float(np.log(chance).sum()), right / chance


def _derivatives(pool: _Pool, right: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(gradient, curvature) of the log-likelihood by the exponents."""
    return pool.slopes @ right, (pool.slopes * right**2) @ pool.slopes.T


def _step(exponents: np.ndarray, gradient: np.ndarray, curvature: np.ndarray, damping: float) -> np.ndarray:
    """Where a damped step leads, within the bounds."""
    curvature = curvature + damping * np.diag(np.diag(curvature) + 1e-6)
    new = exponents + np.linalg.solve(curvature, gradient)
    # An exponent that would leave its bound stays there, and the others step without it.
    free = ~(((exponents <= _LOWEST) & (new < _LOWEST)) | ((exponents >= _HIGHEST) & (new > _HIGHEST)))
    if not free.all():
        new = exponents.copy()
        new[free] += np.linalg.solve(curvature[np.ix_(free, free)], gradient[free])
    return np.clip(new, _LOWEST, _HIGHEST)
