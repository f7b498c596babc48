"""Folds never tear a unit, spread every class evenly, and do not know the order of the rows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from tasks.kernels.folds import assign_folds


def by_dealing(units, strata, folds):
    """Units sorted by (smallest stratum, name), dealt round like cards."""
    smallest = {}
    for unit, stratum in zip(units.tolist(), strata.tolist(), strict=True):
        smallest[unit] = min(stratum, smallest.get(unit, stratum))
    dealt = {unit: i % folds for i, unit in enumerate(sorted(smallest, key=lambda name: (smallest[name], name)))}
    return [dealt[unit] for unit in units.tolist()]


@st.composite
def samples(draw):
    names = st.text("abcdef0123", min_size=1, max_size=4)
    rows = draw(st.lists(st.tuples(names, st.integers(0, 3)), min_size=1, max_size=60))
    return np.array([name for name, _ in rows]), np.array([stratum for _, stratum in rows]), draw(st.integers(1, 7))


@given(samples())
def test_units_are_dealt_like_cards_sorted_by_class_and_name(drawn):
    units, strata, folds = drawn
    assert assign_folds(units, strata, folds).tolist() == by_dealing(units, strata, folds)


@given(samples())
def test_a_unit_is_never_torn(drawn):
    units, strata, folds = drawn
    fold = assign_folds(units, strata, folds)
    for unit in set(units.tolist()):
        assert len(set(fold[units == unit].tolist())) == 1


@given(samples(), st.randoms())
def test_the_order_of_rows_changes_nothing(drawn, random):
    units, strata, folds = drawn
    order = np.array(random.sample(range(len(units)), len(units)))
    np.testing.assert_array_equal(
        assign_folds(units[order], strata[order], folds), assign_folds(units, strata, folds)[order]
    )


@given(samples())
def test_every_class_and_the_whole_are_spread_to_within_one_unit(drawn):
    units, strata, folds = drawn
    fold = assign_folds(units, strata, folds)
    assert fold.min() >= 0
    assert fold.max() < folds
    place = {unit: (int(strata[units == unit].min()), int(fold[units == unit][0])) for unit in set(units.tolist())}
    for wanted in [None, *range(4)]:
        counts = np.bincount([f for s, f in place.values() if wanted is None or s == wanted], minlength=folds)
        assert np.ptp(counts) <= 1


def test_one_fold_holds_everything():
    assert assign_folds(np.array(["a", "b", "c"]), np.array([0, 1, 0]), 1).tolist() == [0, 0, 0]


def test_strata_of_another_length_or_kind_are_refused():
    with pytest.raises(TypeCheckError):
        assign_folds(np.array(["a", "b"]), np.array([0, 1, 1]), 2)
    with pytest.raises(TypeCheckError):
        assign_folds(np.array(["a", "b"]), np.array([0.0, 1.0]), 2)
