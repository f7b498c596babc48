"""Who errs how: several observers joined by expectation maximisation (Dawid & Skene, Applied Statistics 1979).

An observer o calls a sample of the true class j by the class c with the chance θ^o_jc, whatever the others say of it.
Of n samples, with s^o_i what o says of sample i, π_j the share of class j and T_ij = P(true class of i is j):

    E   T_ij ∝ π_j Π_o θ^o_j,s^o_i
    M   π_j ∝ Σ_i T_ij + 1/k,    θ^o_jc ∝ Σ_i T_ij [s^o_i = c] + 1/k

1/k is a Dirichlet prior of one pseudo-sample a class: a pair never seen is unlikely and not impossible. It begins with
T the mean of what is said, so that no class takes another's place. Samples of which the observers say the same are one
row with a count.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from tasks.kernels.axes import Float, Int

SILENT = -1
"""In the place of a class, where an observer says nothing of a sample."""
# It ends when no chance of a true class moves by more than this, or after so many steps.
_TOLERANCE, _STEPS = 1e-4, 200


class Confusions(NamedTuple):
    """What was learned."""

    shares: Float[np.ndarray, "k"]
    """π"""
    chances: Float[np.ndarray, "o k k"]
    """θ, rows sum to one"""


def confusions(said: Int[np.ndarray, "n o"], classes: int) -> Confusions:
    """π and θ of n samples and o observers.

    Args:
        said: class by each observer, or ``SILENT``.
        classes: k.
    """
    rows, counts = np.unique(said, axis=0, return_counts=True)
    votes = (rows[:, :, None] == np.arange(classes)).sum(1).astype(np.float64)
    votes[(rows == SILENT).all(1)] = 1
    chance = votes / votes.sum(1, keepdims=True)
    learned = _maximise(chance, rows, counts)
    for _ in range(_STEPS):
        before, chance = chance, np.exp(log_chances(rows, learned))
        learned = _maximise(chance, rows, counts)
        if np.abs(chance - before).max() < _TOLERANCE:
            break
    return learned


def log_chances(said: Int[np.ndarray, "n o"], learned: Confusions) -> Float[np.ndarray, "n k"]:
    """log T, the chance of each true class given what the observers say."""
    log = np.tile(np.log(learned.shares), (len(said), 1))
    for column, chances in zip(said.T, np.log(learned.chances), strict=True):
        spoken = column != SILENT
        log[spoken] += chances.T[column[spoken]]
    return log - np.logaddexp.reduce(log, axis=1, keepdims=True)


def log_odds_wrong(
    said: Int[np.ndarray, "n o"], learned: Confusions, labels: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "n"]:
    """log Σ_{j≠y} T_j − log T_y, in nats, of each sample's label y."""
    log = log_chances(said, learned)
    own = np.take_along_axis(log, labels[:, None], 1)[:, 0]
    np.put_along_axis(log, labels[:, None], -np.inf, 1)
    return np.logaddexp.reduce(log, axis=1) - own


def _maximise(chance: np.ndarray, rows: np.ndarray, counts: np.ndarray) -> Confusions:
    weighted = chance * counts[:, None]
    classes = weighted.shape[1]
    shares = weighted.sum(0) + 1 / classes
    tables = np.empty((rows.shape[1], classes, classes))
    for table, column in zip(tables, rows.T, strict=True):
        spoken = column != SILENT
        index = torch.from_numpy(column[spoken].astype(np.int64))
        sums = torch.zeros(classes, classes, dtype=torch.float64).index_add_(
            0, index, torch.from_numpy(weighted[spoken])
        )
        table[:] = sums.numpy().T + 1 / classes
    return Confusions(shares / shares.sum(), tables / tables.sum(2, keepdims=True))
