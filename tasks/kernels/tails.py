"""Numbers far beyond the many, be they typing errors or a heavy tail, and how few of them a sum of squares hangs on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tasks.kernels.axes import Bool, Float

NORMAL = 1.4826
"""Times the median of |r| it is the standard deviation where r is normal; outliers do not widen it."""
FAR = 10.0
"""As many spreads from the centre a number is far from the many."""

# Of normal numbers it takes the 12 % farthest from the mean to make up half of the sum of squares, and of exponential
# ones, where heavy tails begin, 5 %. Where fewer do, the sum tells of them and hardly of the others.
_FEW = 0.05


class Tail(NamedTuple):
    """Where the many of some numbers lie, and which lie far from them."""

    numbers: Float[np.ndarray, "n"]
    centre: float
    """The median."""
    spread: float
    """1.4826 · median |y − centre|"""
    far: Bool[np.ndarray, "n"]
    """|y − centre| > 10 · spread"""

    @property
    def bounds(self) -> tuple[float, float]:
        """What lies between them is not far."""
        return self.centre - FAR * self.spread, self.centre + FAR * self.spread

    @property
    def weight(self) -> float:
        """The share of Σ (y − ȳ)² that the far ones make up; none of numbers that are all one."""
        parts = squares(self.numbers)
        return float(parts[self.far].sum() / (parts.sum() or 1.0))


def tail_of(numbers: Float[np.ndarray, "n"], among: Float[np.ndarray, "m"], otherwise: float) -> Tail:
    """Which numbers lie far from the many.

    Args:
        numbers: n finite ones.
        among: the numbers that centre and spread are those of.
        otherwise: the spread where more than half of those are one number, in the numbers' own unit.
    """
    centre = float(np.median(among))
    spread = NORMAL * float(np.median(np.abs(among - centre))) or otherwise
    return Tail(numbers, centre, spread, np.abs(numbers - centre) > FAR * spread)


def squares(numbers: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """(y − ȳ)²"""
    return (numbers - numbers.mean()) ** 2


def few_that_weigh(numbers: Float[np.ndarray, "n"]) -> Bool[np.ndarray, "n"]:
    """The fewest that make up more than half of Σ (y − ȳ)²; none where these are 5 % of the numbers or more."""
    few = np.zeros(len(numbers), bool)
    if not len(numbers):
        return few
    parts = squares(numbers)
    order = np.argsort(-parts, kind="stable")
    sums = np.cumsum(parts[order])
    count = int(np.searchsorted(sums, sums[-1] / 2, side="right")) + 1
    if sums[-1] > 0 and count < _FEW * len(numbers):
        few[order[:count]] = True
    return few
