"""Canaries: labels flipped on purpose, so that it is known how suspect a wrong label looks."""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Bool, Float, Int

# Without any votes every class still has a chance.
_LEAST = 1e-3


def planted_labels(
    labels: Int[np.ndarray, "m"],
    votes: Float[np.ndarray, "m k"],
    confusion: Float[np.ndarray, "m k"],
    kinds: Int[np.ndarray, "m"],
    draw: Float[np.ndarray, "m"],
) -> Int[np.ndarray, "m"]:
    """Another label for each canary, drawn with probability proportional to

        kind 0   1                    any other class: a slip
        kind 1   confusion_i + 10⁻³   what its class is often taken for
        kind 2   votes_i + 10⁻³       what its own neighbours are: an ambiguous sample

    and 0 for the given label y itself.

    Args:
        labels: y, given classes.
        votes: shares of the neighbours' labels.
        confusion: mean votes of each canary's given class.
        kinds: 0, 1 or 2.
        draw: uniform in [0, 1), a function of the sample.
    """
    weights = np.ones(votes.shape, np.float64)
    weights[kinds == 1] = confusion[kinds == 1] + _LEAST
    weights[kinds == 2] = votes[kinds == 2] + _LEAST
    weights[np.arange(len(labels)), labels] = 0
    cumulative = np.cumsum(weights, axis=1)
    # The first class whose cumulative weight passes the draw; the given one adds nothing and is never it.
    return (cumulative <= (draw * cumulative[:, -1])[:, None]).sum(1)


def drawn_within(
    strata: Int[np.ndarray, "m"], labels: Int[np.ndarray, "n"], draw: Float[np.ndarray, "m"]
) -> Int[np.ndarray, "m"]:
    """A sample of the wanted class for each canary, uniformly: the ⌊u · n_c⌋-th of the n_c that bear it.

    Where nobody bears it, any sample, likewise.

    Args:
        strata: classes.
        labels: theirs.
        draw: u, uniform in [0, 1).
    """
    order = np.argsort(labels, kind="stable")
    starts = np.searchsorted(labels[order], strata, side="left")
    counts = np.searchsorted(labels[order], strata, side="right") - starts
    starts, counts = np.where(counts > 0, starts, 0), np.where(counts > 0, counts, len(labels))
    return order[starts + np.minimum((draw * counts).astype(np.int64), counts - 1)]


class ClassVotes:
    """Mean votes of the samples of some classes; of the others nothing is held.

    Args:
        wanted: the classes.
        classes: k.
    """

    def __init__(self, wanted: Int[np.ndarray, "m"], classes: int) -> None:
        self.wanted, self.rows = np.unique(wanted, return_inverse=True)
        self.sums, self.counts = np.zeros((len(self.wanted), classes)), np.zeros(len(self.wanted), np.int64)

    def add(self, labels: Int[np.ndarray, "n"], votes: Float[np.ndarray, "n k"]) -> None:
        """More samples, under their given labels."""
        at = np.searchsorted(self.wanted, labels)
        ours = np.append(self.wanted, -1)[at] == labels
        np.add.at(self.sums, at[ours], votes[ours])
        self.counts += np.bincount(at[ours], minlength=len(self.wanted))

    def means(self) -> Float[np.ndarray, "m k"]:
        """The mean votes of each of the classes, in their order; a class without samples votes for itself."""
        means = self.sums / np.maximum(self.counts, 1)[:, None]
        empty = np.flatnonzero(self.counts == 0)
        means[empty, self.wanted[empty]] = 1
        return means[self.rows]


def planting_networks(fold: Int[np.ndarray, "m"], draws: Float[np.ndarray, "m f"]) -> Bool[np.ndarray, "m f"]:
    """In which fold's networks each canary is trained on under its planted label: ⌊(f − 1)/2⌋ of those that see it.

    In the others it keeps its given label, so that every sample, canary or not, has been trained on as it was given
    (from three folds on; with fewer, none is planted).

    Args:
        fold: the fold that each canary is held out of.
        draws: uniform, a function of (sample, fold).
    """
    folds = draws.shape[1]
    order = draws.copy()
    order[np.arange(len(fold)), fold] = np.inf
    index = np.argsort(np.argsort(order, axis=1, kind="stable"), axis=1, kind="stable")
    return index < (folds - 1) // 2
