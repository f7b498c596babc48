"""Which other label a sample should bear, and how probably."""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Float, Int
from tasks.kernels.pieces import pieces


def suggest_labels(
    p: Float[np.ndarray, "n k"], votes: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]
) -> tuple[Int[np.ndarray, "n"], Float[np.ndarray, "n"]]:
    """j = argmax_{j≠y} q_j with q = (p + v)/2, where q_j > q_y; and P(truly j | y is wrong) = q_j / Σ_{i≠y} q_i.

    Args:
        p: what the held-out network thinks.
        votes: v, shares of the neighbours' labels.
        labels: y.

    Returns:
        (j, −1 where no other class is liked better than the given one; the probability, of any j).
    """
    other, chance = np.empty(len(labels), np.int64), np.empty(len(labels))
    for some in pieces(*p.shape):
        other[some], chance[some] = _suggest(p[some], votes[some], labels[some])
    return other, chance


def _suggest(p: np.ndarray, votes: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = np.arange(len(labels))
    thought = (p.astype(np.float64) + votes) / 2
    own = thought[rows, labels].copy()
    thought[rows, labels] = 0
    best = thought.argmax(1)
    likes = thought[rows, best]
    # Of a cross entropy the sum is 1 − q_y; other losses' outputs are no shares of one whole.
    chance = np.minimum(1, likes / np.maximum(thought.sum(1), 1e-12))
    return np.where(likes > own, best, -1), chance
