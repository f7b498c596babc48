"""Where labels go that are not the observers' first choice: wrong ones and unpredictable ones, by pairs of classes.

    P(y = j | x) = R_cj + (1 − Σ_l R_cl) q_j,   q_j ∝ … B_cj^δ

R_cj are wrong labels: one class that is called another, or pairs that are taken for each other. B_cj are confusions
that the observers are not aware of, and that fade as they become sure. Both are fitted by expectation-maximisation in
turn with the pool of tasks/kernels/pools.py. Of the n_c samples of first choice c, D_cj bear label j; W_cj is the sum
of their P(wrong | y, x), E_cj the number of labels j that q expects of all that are right, t = Σ W / n, and δ the
frequency of each class among labels that are not the first choice:

    R_cj = (W_cj + κ t δ_j/(1 − δ_c)) / (n_c + κ),   B_cj ← B_cj ((D_cj − W_cj + κ′) / (E_cj + κ′))^0.7

with Σ_j R_cj ≤ .95, −3 ≤ log B_cj ≤ 3 and B_cc = 1.

Pairs that were fitted to the labels that they are asked of would explain them all too well. So each half of the samples
is read by the pairs of the other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Float, Int
from tasks.kernels.pools import (
    MOST_WRONG,
    START,
    Confusions,
    Observed,
    Said,
    ascend,
    dissents_first,
    expected_labels,
    pooled,
    said_of,
    unlike_classes,
    wrong_share,
)

# κ, samples of each first choice whose labels are wrong as often as any and go anywhere; κ′, labels that the observers
# have expected.
_PRIOR, _PRIOR_LABELS = 10.0, 20.0
# Rounds of a fit, steps of the pool in each, how far B goes in each, what no round moves the log-likelihood by at the
# end, and shares of the dissent that are wrong to begin with: the likelihood may have several hills.
_ROUNDS, _STEPS, _DAMPING, _STILL, _STARTS = 30, 3, 0.7, 0.05, (0.1, 0.8)
# How large log B is at most.
_LARGEST = 3.0


def anywhere(observed: Observed) -> Float[np.ndarray, "k k"]:
    """ρ_cj = δ_j / (1 − δ_c), 0 at j = c, with half a label more of each class."""
    k = observed.p.shape[1]
    counts = np.bincount(observed.labels[observed.dissents], minlength=k) + 0.5
    rates = np.tile(counts, (k, 1))
    np.fill_diagonal(rates, 0)
    return rates / np.maximum(rates.sum(1, keepdims=True), 1e-300)


def no_confusions(observed: Observed, usual: Float[np.ndarray, "k k"]) -> Confusions:
    """Wrong labels go anywhere, and the observers know how hard each pair is to tell."""
    nothing = np.zeros_like(usual)
    return Confusions(np.zeros(len(observed.labels), np.int64), usual[None], nothing[None], nothing)


def confusions_of(observed: Observed, usual: Float[np.ndarray, "k k"], rows: Int[np.ndarray, "m"]) -> Confusions:
    """ρ and B of each half of n samples, as the other half has them: every second one by how sure the observers are.

    Args:
        observed: n labels.
        usual: ρ where wrong labels go anywhere.
        rows: the labels to learn from.
    """
    counted = np.flatnonzero(observed.counted)
    own = [each[counted, observed.labels[counted]] for each in (observed.votes, observed.p)]
    # Samples that are alike in all of these alone are told apart by where they stand.
    order = np.lexsort((observed.labels[counted], observed.choice[counted], *own, observed.odds[counted]))
    part = np.zeros(len(observed.labels), np.int64)
    part[counted[order]] = np.arange(len(counted)) % 2
    plain = no_confusions(observed, usual)._replace(unlike=unlike_classes(observed))
    learned = [_learned(observed, usual, rows[part[rows] != side], plain) for side in (0, 1)]
    wrong, hard = (np.stack(both) for both in zip(*learned, strict=True))
    return Confusions(part, wrong, hard, plain.unlike)


class _Fit(NamedTuple):
    """Of some labels."""

    loss: float
    """−log-likelihood"""
    wrong: Float[np.ndarray, "k k"]
    """R"""
    hard: Float[np.ndarray, "k k"]
    """log B"""


def _learned(
    observed: Observed, usual: np.ndarray, rows: np.ndarray, plain: Confusions
) -> tuple[np.ndarray, np.ndarray]:
    """(ρ, log B) that make the labels in ``rows`` likeliest, from the best start; ``usual`` where none is wrong."""
    if not len(rows):
        return usual, np.zeros_like(usual)
    rows = dissents_first(observed, rows)
    said = said_of(observed, plain, rows)
    dissent = len(said.error) / len(rows)
    fit = min((_fit(observed, usual, rows, said, share * dissent) for share in _STARTS), key=lambda fit: fit.loss)
    total = float(fit.wrong.sum(1)[observed.choice[rows]].mean())
    return fit.wrong / total if total > 1e-6 else usual, fit.hard


def _fit(observed: Observed, usual: np.ndarray, rows: np.ndarray, said: Said, rate: float) -> _Fit:
    """From one start."""
    k, choice, d = len(usual), observed.choice[rows], len(said.error)
    cells = (choice * k + observed.labels[rows])[:d]
    samples, borne = np.bincount(choice, minlength=k)[:, None], _table(cells, None, k)
    wrong, hard, exponents = rate * usual, np.zeros((k, k)), START
    loss, right = np.inf, np.ones(len(rows))
    for _ in range(_ROUNDS):
        said = _with(said, hard, choice, cells)._replace(error=wrong.ravel()[cells], errors=wrong.sum(1)[choice])
        before, (loss, pool) = loss, ascend(said, 1.0, pooled(said, exponents), _STEPS)
        if abs(before - loss) < _STILL:
            break
        chance, exponents = wrong_share(said, 1.0, pool), pool.exponents
        right[:d] = 1 - chance
        sums = _table(cells, chance, k)
        wrong = (sums + _PRIOR * sums.sum() / len(rows) * usual) / (samples + _PRIOR)
        wrong *= np.minimum(1, MOST_WRONG / np.maximum(wrong.sum(1, keepdims=True), MOST_WRONG))
        excess = (borne - sums + _PRIOR_LABELS) / (expected_labels(said, pool, choice, right, k) + _PRIOR_LABELS)
        hard = np.clip(hard + _DAMPING * np.log(excess), -_LARGEST, _LARGEST)
        np.fill_diagonal(hard, 0)
    return _Fit(loss, wrong, hard)


def _table(cells: np.ndarray, weights: np.ndarray | None, k: int) -> Float[np.ndarray, "k k"]:
    """Sums by first choice and label."""
    return np.bincount(cells, weights, minlength=k * k).reshape(k, k).astype(np.float64)


def _with(said: Said, hard: np.ndarray, choice: np.ndarray, cells: np.ndarray) -> Said:
    """The same labels with another log B, written in its place."""
    end = 0
    for logs in said.logs:
        first = choice[end : (end := end + logs.shape[2])]
        block = hard[first].T.copy()
        block[first, np.arange(len(first))] = block[-1]
        logs[3] = block[:-1]
    said.own[3] = hard.ravel()[cells]
    return said
