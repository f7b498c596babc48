"""A ranking cut at any place: who is above it, and precision against recall. Used to report, never to choose."""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Bool, Float, Int


def expected_flags(suspicion: Float[np.ndarray, "n"], count: int) -> Float[np.ndarray, "n"]:
    """The chance that each sample is among the ``count`` most suspect, where ties at the boundary are drawn by lot."""
    count = min(count, len(suspicion))
    if count <= 0:
        return np.zeros(len(suspicion))
    threshold = np.partition(suspicion, len(suspicion) - count)[len(suspicion) - count]
    above, tied = suspicion > threshold, suspicion == threshold
    return above + tied * ((count - above.sum()) / tied.sum())


def precision_recall(
    suspicion: Float[np.ndarray, "n"], wrong: Bool[np.ndarray, "n"], points: int
) -> tuple[Float[np.ndarray, "p"], Float[np.ndarray, "p"], Int[np.ndarray, "p"]]:
    """(recall, precision, count) at p ≤ ``points`` of the thresholds t, falling; tied suspicions enter together.

    Of all thresholds those that first reach each of ``points`` levels of recall, evenly spaced from the first that is
    above none to 1: what lies between two of them is no further from the curve than a step of recall.
    """
    order = np.argsort(-suspicion, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(suspicion[order]) != 0, True))
    hits = np.cumsum(wrong[order])[ends]
    levels = np.linspace(max(hits[0], 1), hits[-1], points)
    cuts = np.unique(np.searchsorted(hits, levels))
    return hits[cuts] / hits[-1], hits[cuts] / (ends[cuts] + 1), ends[cuts] + 1
