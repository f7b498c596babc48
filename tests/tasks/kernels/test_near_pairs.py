"""Near pairs are those a loop over all pairs finds; a crowd of equals costs no square, and what it hides is counted."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.kernels.near_pairs import bucket_pairs, near_hashes, near_vectors, pairs_of, sketches, uncompared


def by_loop(hashes, most):
    """Every pair of near hashes and in how many bits it differs, one after the other."""
    values = [int(value) for value in hashes]
    pairs = {(i, j): (values[i] ^ values[j]).bit_count() for i, j in combinations(range(len(values)), 2)}
    return {pair: bits for pair, bits in pairs.items() if bits <= most}


def as_dict(pairs):
    found = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    assert len(set(found)) == len(found)
    assert all(i < j for i, j in found)
    return dict(zip(found, pairs.distance.tolist(), strict=True))


@st.composite
def crowded_hashes(draw):
    """Hashes about a few centres, some of them equal, at all distances up to a dozen bits."""
    generator = np.random.default_rng(draw(st.integers(0, 10_000)))
    centres = generator.integers(0, 1 << 63, draw(st.integers(1, 3)), dtype=np.uint64)
    hashes = []
    for _ in range(draw(st.integers(0, 40))):
        bits = generator.choice(64, draw(st.integers(0, 6)), replace=False)
        flips = sum(1 << int(bit) for bit in bits)
        hashes.append(int(generator.choice(centres)) ^ flips)
    return np.array(hashes, np.uint64)


@settings(deadline=None, max_examples=200)
@given(crowded_hashes(), st.integers(0, 6))
def test_near_hashes_are_those_of_a_loop(hashes, most):
    pairs = near_hashes(hashes, most)
    found, expected = as_dict(pairs), by_loop(hashes, most)
    assert found.items() <= expected.items()
    # Of more than eight equal ones not every pair is looked at, and that is told.
    _, counts = np.unique(hashes, return_counts=True)
    if counts.max(initial=0) <= 8:
        assert found == expected
        assert pairs.uncompared == 0


def test_ten_thousand_equal_hashes_cost_eight_pairs_each_and_stay_connected():
    hashes = np.concatenate([np.full(10_000, 7, np.uint64), np.full(10_000, 6, np.uint64)])
    pairs = near_hashes(hashes, 4)
    assert len(pairs.first) < 200_000
    assert pairs.uncompared > 90_000_000
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    edges = coo_array((np.ones(len(pairs.first)), (pairs.first, pairs.second)), shape=(20_000, 20_000))
    assert connected_components(edges, directed=False)[0] == 1


@given(st.lists(st.integers(0, 5), max_size=30), st.integers(1, 6))
def test_a_bucket_pairs_each_with_the_next_few_and_counts_the_rest(keys, most):
    keys = np.array(keys, np.int64)
    found = [pair for i, j in bucket_pairs(keys, most) for pair in zip(i.tolist(), j.tolist(), strict=True)]
    members = {key: np.flatnonzero(keys == key).tolist() for key in set(keys.tolist())}
    expected = [(of[a], of[b]) for of in members.values() for a, b in combinations(range(len(of)), 2) if b - a <= most]
    assert sorted(found) == sorted(expected)
    every = sum(len(of) * (len(of) - 1) // 2 for of in members.values())
    assert uncompared(keys, most) == every - len(found)


def test_near_vectors_are_those_of_a_loop():
    generator = np.random.default_rng(0)
    x = generator.standard_normal((300, 64)).astype(np.float32) + 5  # all of them point one way
    x[200:] = x[:100] + 0.05 * generator.standard_normal((100, 64)).astype(np.float32)
    x[290:] = x[:10]
    centred = x.astype(np.float64) - x.mean(0, dtype=np.float64)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    expected = {(i, j) for i, j in combinations(range(300), 2) if unit[i] @ unit[j] >= 0.99}
    found = as_dict(near_vectors(x, 0.99))
    assert len(expected) >= 100
    assert found.keys() == expected
    assert all(abs(distance - (1 - unit[i] @ unit[j])) < 1e-5 for (i, j), distance in found.items())


def test_no_vector_and_vectors_without_length_have_no_pairs():
    assert as_dict(near_vectors(np.empty((0, 3), np.float32), 0.99)) == {}
    assert as_dict(near_vectors(np.ones((5, 3), np.float32), 0.99)) == {}
    assert as_dict(pairs_of([])) == {}


def test_sketches_agree_as_often_as_the_sets_do():
    generator = np.random.default_rng(0)
    shared = generator.integers(0, 1 << 31, 80, dtype=np.int64)
    sets = [np.concatenate([shared, generator.integers(0, 1 << 31, 10)]) for _ in range(2)]  # J = .8
    keys = sketches(np.concatenate(sets), np.array([0, 90, 180]), bands=2000, rows=1)
    assert abs((keys[0] == keys[1]).mean() - 0.8) < 0.03
    keys = sketches(np.concatenate(sets), np.array([0, 90, 180]), bands=2000, rows=4)
    assert abs((keys[0] == keys[1]).mean() - 0.8**4) < 0.05
