"""Errors of sets of labels: whether labels are rather forgotten or added, as a network that saw none of them tells."""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Bool, Float

# The surest part of what a network says: there its own mistakes are rarest.
_SUREST = 0.1


def forgotten_share(outputs: Float[np.ndarray, "n l"], members: Bool[np.ndarray, "n l"]) -> float:
    """F/(F + A), how many of the labels in error are forgotten ones, estimated with

        F = N₊ (f + 1)/(n₊ + 2)    N₊ sample-label pairs it says are there; of the surest tenth, n₊, f were not given
        A = N₋ (a + 1)/(n₋ + 2)    N₋ it says are absent; of the surest tenth, n₋, a were given

    Args:
        outputs: of the held-out network, in nats; above 0 where it says that the label is there.
        members: whether the label was given.
    """
    said, given = outputs > 0, np.asarray(members, bool)
    forgotten = _in_error(outputs[said], ~given[said])
    added = _in_error(-outputs[~said], given[~said])
    return forgotten / max(forgotten + added, 1e-12)


def _in_error(sure: Float[np.ndarray, "p"], dissents: Bool[np.ndarray, "p"]) -> float:
    if not len(sure):
        return 0.0
    count = int(np.ceil(_SUREST * len(sure)))
    surest = np.argpartition(-sure, count - 1)[:count]
    return len(sure) * (int(dissents[surest].sum()) + 1) / (count + 2)


def shares_of_changes(
    given: Bool[np.ndarray, "m l"], planted: Bool[np.ndarray, "m l"], forgotten: float
) -> Float[np.ndarray, "m"]:
    """(φ g + (1 − φ) a)/(g + a) with g labels that a set has lost and a that it has got; φ is the forgotten share.

    A set that only lost labels counts φ, one that only got some 1 − φ, an exchanged one between them.
    """
    lost, got = (given & ~planted).sum(1), (planted & ~given).sum(1)
    return (forgotten * lost + (1 - forgotten) * got) / np.maximum(lost + got, 1)
