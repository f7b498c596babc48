"""How far a network's confidence is from how often it is right."""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Bool, Float


def calibration_error(confidence: Float[np.ndarray, "n"], right: Bool[np.ndarray, "n"], bins: int = 15) -> float:
    """Σ_m |B_m|/n · |share right in B_m − mean confidence in B_m|, B_m the samples with confidence in ((m−1)/M, m/M].

    The expected calibration error of Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, with their 15
    bins of equal width. NaN of no samples.

    Args:
        confidence: probability of the predicted class.
        right: whether it is the given one.
        bins: M.
    """
    if not len(confidence):
        return float("nan")
    index = np.clip(np.ceil(confidence.astype(np.float64) * bins).astype(np.int64) - 1, 0, bins - 1)
    # |B| · |share − mean| = |Σ (right − confidence)|
    gaps = np.bincount(index, weights=right - confidence.astype(np.float64), minlength=bins)
    return float(np.abs(gaps).sum() / len(confidence))
