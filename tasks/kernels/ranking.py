"""How well a suspicion ranks what is known to be wrong. Used to report, never to choose."""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Bool, Float


def average_precision(suspicion: Float[np.ndarray, "n"], wrong: Bool[np.ndarray, "n"]) -> float:
    """Σ_t (R_t − R_{t−1}) P_t over the distinct thresholds t, falling: the area under the precision-recall steps.

    Tied suspicions enter together, so the figure does not depend on row order. NaN when nothing is wrong.
    """
    if not wrong.any():
        return float("nan")
    order = np.argsort(-suspicion, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(suspicion[order]) != 0, True))
    hits = np.cumsum(wrong[order])[ends]
    recall = hits / hits[-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * hits / (ends + 1)))


def roc_auc(suspicion: Float[np.ndarray, "n"], wrong: Bool[np.ndarray, "n"]) -> float:
    """P(suspicion of a wrong sample > that of a right one), ties counted half (Mann-Whitney U). NaN if one is empty."""
    positives, negatives = int(wrong.sum()), int((~wrong).sum())
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(suspicion, return_inverse=True, return_counts=True)
    middle_rank = np.cumsum(counts) - (counts - 1) / 2
    return float((middle_rank[inverse][wrong].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def precision_at(suspicion: Float[np.ndarray, "n"], wrong: Bool[np.ndarray, "n"], count: int) -> float:
    """Share of wrong samples among the ``count`` most suspect; at the boundary, ties count by their expectation."""
    if count <= 0:
        return float("nan")
    threshold = np.partition(suspicion, len(suspicion) - count)[len(suspicion) - count]
    above, tied = suspicion > threshold, suspicion == threshold
    room = count - int(above.sum())
    return float((wrong[above].sum() + wrong[tied].mean() * room) / count)
