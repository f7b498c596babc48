"""The interval of a mean, the same wherever one is stated."""

from __future__ import annotations

import math

import numpy as np


def t_interval(values: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """mean(x) ± q · sd(x)/√s, sd with s − 1, q of Student's t with s − 1 degrees of freedom.

    Args:
        values: x, one a repetition.
        level: the share of such intervals that holds the mean.

    Returns:
        None for one value, which has no spread.
    """
    s = len(values)
    if s < 2:
        return None
    mean, half = float(np.mean(values)), t_quantile(s - 1, level) * float(np.std(values, ddof=1)) / s**0.5
    return mean - half, mean + half


def t_quantile(degrees: int, level: float) -> float:
    """q ≥ 0 with P(|T| ≤ q) = level, T of Student's t with ν degrees of freedom.

    SciPy's takes a quarter of a second to import. Newton's steps q ← q + (level − P)/P′ from 0 never pass the root, for
    P is concave.

    Args:
        degrees: ν ≥ 1, an integer.
        level: in [0, 1).
    """
    constant = math.lgamma((degrees + 1) / 2) - math.lgamma(degrees / 2) - math.log(degrees * math.pi) / 2
    quantile = 0.0
    while True:
        density = 2 * math.exp(constant - (degrees + 1) / 2 * math.log1p(quantile**2 / degrees))
        step = (level - _central(quantile, degrees)) / density
        if step <= 1e-15 * quantile:
            return quantile
        quantile += step


def _central(t: float, degrees: int) -> float:
    """P(|T| ≤ t), with θ = atan(t/√ν).

    ν even: sin θ (1 + 1/2 cos²θ + … + (1·3⋯(ν−3))/(2·4⋯(ν−2)) cos^(ν−2) θ); ν odd: 2/π (θ + sin θ (cos θ + 2/3 cos³θ
    + … + (2·4⋯(ν−3))/(1·3⋯(ν−2)) cos^(ν−2) θ)).
    """
    angle, is_odd = math.atan(t / math.sqrt(degrees)), degrees % 2
    term = total = math.cos(angle) if is_odd else 1.0
    for power in range(2 + is_odd, degrees - 1, 2):
        term *= (power - 1) / power * math.cos(angle) ** 2
        total += term
    if degrees == 1:
        return 2 / math.pi * angle
    return 2 / math.pi * (angle + math.sin(angle) * total) if is_odd else math.sin(angle) * total
