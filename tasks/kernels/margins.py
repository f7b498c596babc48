"""Label-quality scores of classifier outputs; suspicion, so higher = more suspect.

With z the outputs, p the probabilities, y the given label of a sample, k classes:

    margin                       max_{j≠y} z_j − z_y
    self-confidence              1 − p_y
    normalised margin            1 − (p_y − max_{j≠y} p_j + 1)/2
    confidence-weighted entropy  1 − log(1 + u)/u, u = H(p) / (p_y log k)

The three last are cleanlab's (Northcutt, Jiang & Chuang, "Confident Learning", JAIR 2021; Kuan & Mueller, 2022) turned
round: 1 − cleanlab's quality.
"""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Float, Int
from tasks.kernels.pieces import pieces

# cleanlab's constant against division by zero.
_LEAST = 1e-6


def margin(outputs: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """max_{j≠y} z_j − z_y, in the units of ``outputs`` (log-odds for logits, a share for votes), float64."""
    own = np.take_along_axis(outputs, labels[:, None], 1)[:, 0]
    others = np.empty_like(own)
    for some in pieces(*outputs.shape):
        part = np.array(outputs[some])
        np.put_along_axis(part, labels[some, None], -np.inf, 1)
        others[some] = part.max(1)
    return (others - own).astype(np.float64)


def self_confidence(p: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """1 − p_y; on logits this is half the L1 norm of the cross entropy's gradient."""
    return 1 - np.take_along_axis(p, labels[:, None], 1)[:, 0].astype(np.float64)


def normalized_margin(p: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """1 − (p_y − max_{j≠y} p_j + 1)/2 = (1 + margin(p, y))/2"""
    return (1 + margin(p, labels)) / 2


def confidence_weighted_entropy(p: Float[np.ndarray, "n k"], labels: Int[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """1 − log(1 + u)/u with u = H(p) / (p_y log k): the entropy in units of its largest value, over the confidence."""
    wide = p.astype(np.float64)
    entropy = -(wide * np.log(wide, out=np.zeros_like(wide), where=wide > 0)).sum(1) / np.log(p.shape[1])
    u = np.maximum(entropy / np.maximum(np.take_along_axis(wide, labels[:, None], 1)[:, 0], _LEAST), _LEAST)
    return 1 - np.log1p(u) / u
