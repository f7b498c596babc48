"""Labels that are hard to predict: the logarithmic pool of two observers, as sure as the labels show it to be.

    P(y | x) = r ρ_cy + (1 − r ρ_c) q_y,   q_j ∝ p_j^(α + α′h + α″u_cj) v_j^(β + β′h + β″u_cj) π_j^γ B_cj^δ

    α, β, δ, α′, β′, α″, β″ ≥ 0

    q    the logarithmic pool of network p, neighbours v and the frequency π of each class (Genest & Zidek, "Combining
         probability distributions", Statistical Science 1986)
    h    how sure the observers are, from 0 to 1. Where some inputs say nothing and others much, one exponent for all
         fits neither, and the labels of the former would pass for wrong ones. Surer observers deserve no less trust
         (α′, β′ ≥ 0); if they could, they would explain away dissent that does not fade
    u    how unlike class j is to c, from 0 to 1, by how much the observers think of j where they choose c. They may be
         surer than they ought to be of classes that are alike, and not of others
    B    by how much more often than the observers think a sample of first choice c bears each class
    r    the share of labels that are wrong and are not the first choice; ρ_cj tells where they go, ρ_c = Σ_j ρ_cj,
         which is 1 on average; no class is wrong more often than in .95

ρ and B are of tasks/kernels/confusions.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Bool, Float, Int
from tasks.kernels.lapses import LEAST, LEAST_SHARE, consensus
from tasks.kernels.pieces import pieces

# Odds that are made in one go: they stay in cache.
_BLOCK = 1 << 15
START = np.array([0.5, 0.5, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0])
"""The exponents to begin with: at the rate 0 the likelihood has one hill, so that one start is as good as any."""
# Steps of a fit at most, and what no step moves the log-likelihood by at the end.
_STEPS, _STILL = 60, 1e-3
# Between which the exponents lie.
_LOWEST = np.array([0.0, 0.0, -5.0, 0.0, 0.0, 0.0, 0.0, 0.0])
_HIGHEST = np.array([30.0, 30.0, 5.0, 1.0, 15.0, 15.0, 15.0, 15.0])
# How often the labels of a first choice are wrong, at most.
MOST_WRONG = 0.95
# Quantiles of the log-odds of the first choice that are h = 0 and 1.
_ENDS = (0.01, 0.99)


class Observed(NamedTuple):
    """n labels, and what two observers that never saw them say of each."""

    p: Float[np.ndarray, "n k"]
    votes: Float[np.ndarray, "n k"]
    labels: Int[np.ndarray, "n"]
    choice: Int[np.ndarray, "n"]
    """c"""
    sure: Float[np.ndarray, "n"]
    """h"""
    odds: Float[np.ndarray, "n"]
    """What h is of: the log-odds of the first choice, of both observers together."""
    counted: Bool[np.ndarray, "n"]
    """The labels that are evidence."""
    frequencies: Float[np.ndarray, "k"]
    """π, among the labels that are counted, with half a label more of each class."""

    @property
    def dissents(self) -> Bool[np.ndarray, "n"]:
        """Which counted labels are not the first choice."""
        return self.counted & (self.labels != self.choice)


class Confusions(NamedTuple):
    """Where labels go that are not the first choice, as two parts of the samples are read."""

    part: Int[np.ndarray, "n"]
    """0 or 1"""
    wrong: Float[np.ndarray, "two k k"]
    """ρ_cj, 0 at j = c"""
    hard: Float[np.ndarray, "two k k"]
    """log B_cj, 0 at j = c"""
    unlike: Float[np.ndarray, "k k"]
    """u_cj"""


class Said(NamedTuple):
    """What the likelihood of m labels is made of, the d of them first that are not the first choice."""

    logs: Sequence[Float[np.ndarray, "six others b"]]
    """log p, log v, log π and log B of each class but the first choice, less those of the first choice, and u times the
    first two, of b labels a block.

    Classes stand before labels, so that sums over few classes are sums of long rows.
    """
    own: Float[np.ndarray, "six d"]
    """The same of y."""
    sure: Float[np.ndarray, "m"]
    """h"""
    error: Float[np.ndarray, "d"]
    """ρ_cy"""
    errors: Float[np.ndarray, "m"]
    """ρ_c"""


class Pool(NamedTuple):
    """The pool of some exponents, with what every rate needs of it."""

    exponents: Float[np.ndarray, "eight"]
    """(α, β, γ, δ, α″, β″, α′, β′)"""
    q: Float[np.ndarray, "m"]
    """q_y"""
    slopes: Float[np.ndarray, "eight m"]
    """of log q_y by the exponents"""


def observe(
    p: Float[np.ndarray, "n k"],
    votes: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, "n"],
    counted: Bool[np.ndarray, "n"] | None,
) -> Observed:
    """With c, and with h: the log-odds of both observers, from the lowest hundredth of those counted to the highest."""
    choice, each = consensus(p, votes)
    counted = np.ones(len(p), bool) if counted is None else counted
    odds = each.sum(1)
    low, high = np.quantile(odds[counted], _ENDS) if counted.any() else (0.0, 1.0)
    sure = np.clip((odds - low) / max(high - low, 1e-9), 0, 1)
    frequencies = np.bincount(labels[counted], minlength=p.shape[1]) + 0.5
    return Observed(p, votes, labels, choice, sure, odds, counted, frequencies / frequencies.sum())


def unlike_classes(observed: Observed) -> Float[np.ndarray, "k k"]:
    """u_cj = 1 − m_cj / max_{l≠c} m_cl, m_cj = √(mean p_j · mean v_j) over the samples of first choice c."""
    p, votes, _, choice = observed[:4]
    k = p.shape[1]
    sums = np.zeros((2, k, k))
    for some in pieces(*p.shape):
        order = np.argsort(choice[some], kind="stable")
        starts = np.flatnonzero(np.diff(choice[some][order], prepend=-1))
        for total, said in zip(sums, (p, votes), strict=True):
            total[choice[some][order][starts]] += np.add.reduceat(said[some][order].astype(np.float64), starts, 0)
    thought = np.sqrt(np.maximum(sums, 0).prod(0))
    np.fill_diagonal(thought, 0)
    return 1 - thought / np.maximum(thought.max(1, keepdims=True), 1e-300)


def dissents_first(observed: Observed, rows: Int[np.ndarray, "m"]) -> Int[np.ndarray, "m"]:
    """The same rows, those first whose label is not the first choice, and each first choice's together."""
    return rows[np.lexsort((observed.choice[rows], observed.labels[rows] == observed.choice[rows]))]


def said_of(observed: Observed, confusions: Confusions, rows: Int[np.ndarray, "m"]) -> Said:
    """Of the labels in ``rows``, of which those that are not the first choice stand before all others."""
    p, votes, labels, choice, sure = observed[:5]
    k = p.shape[1]
    logs, own = [], []
    for some in pieces(len(rows), k - 1, _BLOCK):
        block, of = np.empty((6, k, len(rows[some]))), rows[some]
        block[0] = np.log(np.maximum(p[of].T, 0).astype(np.float64) + LEAST)
        block[1] = np.log(np.maximum(votes[of].T, 0).astype(np.float64) + LEAST_SHARE)
        block[2] = np.log(observed.frequencies)[:, None]
        block[3] = confusions.hard[confusions.part[of], choice[of]].T
        first, places = choice[of], np.arange(len(of))
        block[:4] -= block[:4, first, places][:, None]
        np.multiply(block[:2], confusions.unlike[first].T, out=block[4:])
        own.append(block[:, labels[of], places])
        # The last class takes the place of the first choice, of which nothing but zeros is left.
        block[:, first, places] = block[:, -1]
        logs.append(block[:, :-1].copy())
    d = int(np.count_nonzero(labels[rows] != choice[rows]))
    part, first = confusions.part[rows], choice[rows]
    error = confusions.wrong[part[:d], first[:d], labels[rows[:d]]]
    return Said(logs, np.concatenate(own, 1)[:, :d], sure[rows], error, confusions.wrong.sum(2)[part, first])


def pooled(said: Said, exponents: Float[np.ndarray, "eight"]) -> Pool:
    """q_y = e^s_y / Σ_j e^s_j, s_j = (α + α′h, β + β′h, γ, δ, α″, β″) · logs_j, s_c = 0.

    The slopes of its logarithm are logs_y − Σ_j q_j logs_j, and h times those of α and β for α′ and β′.

    A float64 holds every e^s_j: to one observer at most is another class likelier than the first choice, so that
    s_j < 60 log 1001 + 5 log(2n + 1) + 3, and that is below 709 for any n.
    """
    d, end, weights = len(said.error), 0, _weights(said, exponents)
    q, slopes = np.ones(len(said.sure)), np.zeros((8, len(said.sure)))
    q[:d], slopes[:6, :d] = np.exp(np.einsum("am,am->m", weights[:, :d], said.own)), said.own
    for logs in said.logs:
        block = slice(end, end := end + logs.shape[2])
        odds = np.einsum("am,akm->km", weights[:, block], logs)
        np.exp(odds, out=odds)
        total = 1 + odds.sum(0)
        q[block] /= total
        slopes[:6, block] -= np.einsum("akm,km->am", logs, odds) / total
    slopes[6:] = slopes[:2] * said.sure
    return Pool(exponents, q, slopes)


def expected_labels(
    said: Said, pool: Pool, choice: Int[np.ndarray, "m"], right: Float[np.ndarray, "m"], k: int
) -> Float[np.ndarray, "k k"]:
    """Σ right q_j over the samples of first choice c, 0 at j = c.

    Args:
        said: of m labels, each first choice's together.
        pool: q.
        choice: the first choices.
        right: P(right | y, x)
        k: classes.
    """
    sums, end, weights = np.zeros((k, max(k - 1, 0))), 0, _weights(said, pool.exponents)
    for logs in said.logs:
        block = slice(end, end := end + logs.shape[2])
        odds = np.exp(np.einsum("am,akm->km", weights[:, block], logs))
        odds *= right[block] / (1 + odds.sum(0))
        starts = np.flatnonzero(np.diff(choice[block], prepend=-1))
        np.add.at(sums, choice[block][starts], np.add.reduceat(odds, starts, 1).T)
    expected, classes = np.zeros((k, k)), np.arange(k - 1)
    expected[:, :-1] = sums
    expected[classes, -1], expected[classes, classes] = sums[classes, classes], 0.0
    return expected


def _weights(said: Said, exponents: np.ndarray) -> Float[np.ndarray, "six m"]:
    """Exponents of p, v, π, B and of p and v by u in each label's pool."""
    weights = np.repeat(exponents[:6, None], len(said.sure), 1)
    weights[:2] += exponents[6:, None] * said.sure
    return weights


def ascend(said: Said, rate: float, pool: Pool, steps: int = _STEPS) -> tuple[float, Pool]:
    """(−log-likelihood, pool) from one start, by scoring with the slopes' outer products and Levenberg's damping."""
    (wrong, right), damping = wrong_and_right(said, rate), 1e-2
    loss, share = _loss(wrong, right, pool)
    gradient, curvature = _derivatives(pool, share)
    for _ in range(steps):
        new = pooled(said, _step(pool.exponents, gradient, curvature, damping))
        new_loss, share = _loss(wrong, right, new)
        if new_loss > loss:
            damping *= 10
            if damping > 1e8:
                break
            continue
        still = loss - new_loss < _STILL
        loss, pool, damping = new_loss, new, max(damping * 0.3, 1e-7)
        if still:
            break
        gradient, curvature = _derivatives(pool, share)
    return loss, pool


def wrong_share(said: Said, rate: float, pool: Pool) -> Float[np.ndarray, "d"]:
    """P(wrong | y, x) = r ρ_cy / (r ρ_cy + (1 − r ρ_c) q_y) of the labels that are not the first choice."""
    wrong, right = wrong_and_right(said, rate)
    of_pool = right[: len(wrong)] * pool.q[: len(wrong)]
    return wrong / np.maximum(wrong + of_pool, 1e-300)


def wrong_and_right(said: Said, rate: float) -> tuple[Float[np.ndarray, "d"], Float[np.ndarray, "m"]]:
    """(r ρ_cy, 1 − r ρ_c), where no class is wrong more often than in ``MOST_WRONG``."""
    often = rate * said.errors
    scale = np.minimum(1, MOST_WRONG / np.maximum(often, MOST_WRONG))
    return rate * said.error * scale[: len(said.error)], 1 - often * scale


def _loss(wrong: np.ndarray, right: np.ndarray, pool: Pool) -> tuple[float, np.ndarray]:
    """(−Σ log P(y), P(right | y)); ``wrong`` is r ρ_cy, ``right`` is 1 − r ρ_c."""
    of_pool = right * pool.q
    chance = of_pool.copy()
    chance[: len(wrong)] += wrong
    np.maximum(chance, 1e-12, out=chance)
    return -float(np.log(chance).sum()), of_pool / chance


def _derivatives(pool: Pool, share: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(gradient, curvature) of the log-likelihood by the exponents; ``share`` is P(right | y)."""
    return pool.slopes @ share, (pool.slopes * share**2) @ pool.slopes.T


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
