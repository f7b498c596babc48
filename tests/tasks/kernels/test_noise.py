"""A flip always lies: symmetric noise reaches every other class alike, asymmetric noise the next one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from tasks.kernels.noise import flip_labels

uniform = st.floats(0, 1, exclude_max=True)


@given(st.integers(2, 12), st.lists(st.tuples(st.integers(0, 11), uniform, uniform), max_size=40), uniform)
def test_a_sample_flips_exactly_when_its_draw_is_below_the_share(k, rows, share):
    labels = np.array([y % k for y, _, _ in rows], np.int64)
    decide, choose = np.array([u for _, u, _ in rows], float), np.array([v for _, _, v in rows], float)
    for symmetric in (True, False):
        flipped = flip_labels(labels, decide, choose, share=share, classes=k, symmetric=symmetric)
        np.testing.assert_array_equal(flipped != labels, decide < share)
        assert ((flipped >= 0) & (flipped < k)).all()


@given(st.integers(2, 12), st.integers(0, 11), uniform)
def test_a_flip_goes_where_the_formula_says(k, label, choose):
    label %= k
    arguments = (np.array([label]), np.array([0.0]), np.array([choose]))
    symmetric = flip_labels(*arguments, share=0.5, classes=k, symmetric=True)
    assert symmetric.tolist() == [(label + 1 + int(choose * (k - 1))) % k]
    pair = flip_labels(*arguments, share=0.5, classes=k, symmetric=False)
    assert pair.tolist() == [(label + 1) % k]


@pytest.mark.parametrize("k", [2, 3, 10])
def test_symmetric_noise_hits_every_other_class_alike(k):
    n = 4000
    choose = (np.arange(n) + 0.5) / n
    for label in range(k):
        flipped = flip_labels(np.full(n, label), np.zeros(n), choose, share=1.0, classes=k, symmetric=True)
        counts = np.bincount(flipped, minlength=k)
        assert counts[label] == 0
        assert np.ptp(np.delete(counts, label)) <= 1


def test_a_share_of_zero_changes_nothing_and_the_given_labels_are_left_alone():
    labels, zeros = np.array([0, 1, 2]), np.zeros(3)
    assert flip_labels(labels, zeros, zeros, share=0.0, classes=3, symmetric=True).tolist() == [0, 1, 2]
    flip_labels(labels, zeros, zeros, share=1.0, classes=3, symmetric=True)
    assert labels.tolist() == [0, 1, 2]


def test_draws_of_another_length_are_refused():
    with pytest.raises(TypeCheckError):
        flip_labels(np.array([0, 1]), np.zeros(3), np.zeros(2), share=0.1, classes=2, symmetric=True)
