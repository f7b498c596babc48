"""The interval of a mean, the same wherever one is stated."""

from __future__ import annotations

import numpy as np


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """mean(x) ± q · sd(x)/√s, sd with s − 1, q of Student's t with s − 1 degrees of freedom.

    Args:
        values: x, one a repetition.
        level: the share of such intervals that holds the mean.

    Returns:
        None for one value, which has no spread.
    """
    # scipy.stats takes a second to import; this is all of it that is needed.
    from scipy.special import stdtrit

    s = len(values)
    if s < 2:
        return None
    quantile = float(stdtrit(s - 1, (1 + level) / 2))
    mean, half = float(np.mean(values)), quantile * float(np.std(values, ddof=1)) / s**0.5
    return mean - half, mean + half
