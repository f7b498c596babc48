"""Cross-fitting folds."""

from __future__ import annotations

import numpy as np

from tasks.kernels.axes import Float, Int, Shaped


def assign_folds(units: Shaped[np.ndarray, "n"], strata: Int[np.ndarray, "n"], folds: int) -> Int[np.ndarray, "n"]:
    """A fold 0 … f − 1 for each sample: stratified, and the same whatever the order of the rows.

    Samples of one unit share a fold (exact duplicates, or a group: a copy in the training half would tell a model the
    label it is to be asked about). Units are sorted by (stratum, unit name) and dealt round like cards, so that each
    stratum's units spread over the folds as evenly as can be, and fold sizes differ by at most one unit.

    Args:
        units: what must not be torn apart, as comparable values; content hashes give an order without meaning.
        strata: class index; a unit of several classes counts for its smallest.
        folds: f.

    Returns:
        int64 fold of each sample.
    """
    names, unit_of = np.unique(units, return_inverse=True)
    stratum = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(stratum, unit_of, strata)
    fold = np.empty(len(names), np.int64)
    fold[np.lexsort((np.arange(len(names)), stratum))] = np.arange(len(names)) % folds
    return fold[unit_of]


def extend_folds(
    units: Shaped[np.ndarray, "n"],
    base_folds: Int[np.ndarray, "n"],
    order: Float[np.ndarray, "n"],
    draw: Float[np.ndarray, "n"],
    folds: int,
) -> Int[np.ndarray, "n"]:
    """Folds for samples that came later, with those already dealt left as they are.

    A new sample whose unit has a known member takes that member's fold: the model of any other fold has seen its
    copy. One of any other unit takes ⌊f · u⌋, u the ``draw`` of the unit's member with the smallest ``order``, so that
    it depends on the unit alone.

    Args:
        units: what must not be torn apart.
        known: fold of each sample, −1 where it is new.
        order: uniform in [0, 1), a function of the sample.
        draw: another, independent of it.
        folds: f.

    Returns:
        int64 fold of each sample.
    """
    names, unit_of = np.unique(units, return_inverse=True)
    fold = np.full(len(names), folds, np.int64)
    old = base_folds >= 0
    np.minimum.at(fold, unit_of[old], base_folds[old].astype(np.int64))
    by_order = np.lexsort((order, unit_of))
    first = by_order[np.unique(unit_of[by_order], return_index=True)[1]]
    proposal = np.where(fold < folds, fold, np.floor(draw[first] * folds).astype(np.int64))[unit_of]
    # Whatever has joined since: a model has seen what it was trained on.
    return np.where(old, base_folds, proposal)
