"""Consecutive rows in pieces, so that what is made of them at a time stays small."""

from __future__ import annotations

from collections.abc import Iterator

# Values of a temporary that are made at a time: large enough for the matrix product, small beside what it is made of.
_AT_A_TIME = 1 << 21


def pieces(n: int, values: int, most: int | None = None) -> Iterator[slice]:
    """Slices of n samples of ``values`` values each that hold no more than ``most`` together: a few million."""
    size = max(1, (_AT_A_TIME if most is None else most) // max(1, values))
    return (slice(first, min(first + size, n)) for first in range(0, n, size))
