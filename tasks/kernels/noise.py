"""Planted label noise."""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Float, Int


def flip_labels(
    labels: Int[np.ndarray, "n"],
    decide: Float[np.ndarray, "n"],
    choose: Float[np.ndarray, "n"],
    *,
    share: float,
    classes: int,
    symmetric: bool,
) -> Int[np.ndarray, "n"]:
    """Flip a share of labels.

    With u = ``decide`` and v = ``choose``, both uniform in [0, 1): the label y of a sample with u < share becomes
    (y + 1 + ⌊v (k − 1)⌋) mod k when symmetric (every other class equally likely), else (y + 1) mod k ("pair flip",
    Han et al., Co-teaching, NeurIPS 2018). All others stay.

    Args:
        labels: class indices 0 … k − 1.
        decide: whether; a function of the sample, so that row order changes nothing.
        choose: to which class.
        share: expected share of flips.
        classes: k, at least 2.
        symmetric: which of the two kinds.
    """
    step = 1 + np.floor(choose * (classes - 1)).astype(labels.dtype) if symmetric else np.ones_like(labels)
    return np.where(decide < share, (labels + step) % classes, labels)
