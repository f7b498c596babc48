"""A sample's id is its content and nothing else, and the random numbers drawn for it follow from its id."""

from __future__ import annotations

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.dataset.sample_ids import content_hashes, uniforms


def _lists(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


def test_an_id_is_the_digest_of_the_little_endian_floats():
    hashes = content_hashes([pa.array([1, 2]), pa.array([0.5, 4.0])])
    expected = hashlib.blake2b(np.array([1, 0.5], "<f8").tobytes(), digest_size=16).hexdigest()
    assert hashes[0] == expected
    assert len(set(hashes)) == 2


def test_an_images_id_is_the_digest_of_its_bytes():
    data = [b"one", b"two", b""]
    hashes = content_hashes([pa.array(data, pa.binary())])
    assert hashes == [hashlib.blake2b(item, digest_size=16).hexdigest() for item in data]


@pytest.mark.parametrize("kind", ["int8", "uint16", "int64", "float32", "float64", "uint8"])
def test_numbers_of_every_type_have_one_id(kind):
    reference = content_hashes([pa.array([1.0, 2.0, 3.0])])
    assert content_hashes([pa.array([1, 2, 3]).cast(kind)]) == reference


def test_minus_zero_is_zero():
    assert len(set(content_hashes([pa.array([0.0, -0.0])]))) == 1


def test_the_order_of_columns_is_content():
    a, b = pa.array([1.0]), pa.array([2.0])
    assert content_hashes([a, b]) != content_hashes([b, a])


def test_a_slice_has_the_ids_of_its_rows():
    whole = _lists(np.arange(20, dtype=np.uint8).reshape(10, 2))
    numbers = pa.array(np.arange(10.0))
    expected = content_hashes([whole, numbers])[3:7]
    assert content_hashes([whole.slice(3, 4), numbers.slice(3, 4)]) == expected


@pytest.mark.parametrize(
    "columns",
    [
        [pa.array([], pa.float64())],
        [pa.array([], pa.binary())],
        [pa.array([], pa.list_(pa.float32(), 3)), pa.array([], pa.int8())],
    ],
    ids=["numbers", "images", "lists"],
)
def test_no_rows_have_no_ids(columns):
    assert content_hashes(columns) == []


@settings(max_examples=30, deadline=None, database=None)
@given(st.lists(st.tuples(st.floats(allow_nan=False), st.integers(-100, 100)), min_size=1, max_size=20), st.randoms())
def test_ids_follow_their_rows(rows, random):
    def ids(order: list[tuple[float, int]]) -> list[str]:
        return content_hashes([pa.array([a for a, _ in order], pa.float64()), pa.array([b for _, b in order])])

    shuffled = random.sample(rows, len(rows))
    named = dict(zip(rows, ids(rows), strict=True))
    assert ids(shuffled) == [named[row] for row in shuffled]
    assert len(set(named.values())) == len(set(rows))


def test_the_numbers_of_an_id_do_not_depend_on_its_neighbours():
    ids = [f"{i:032x}" for i in range(50)]
    decide, choose = uniforms(ids, 7)
    again = uniforms(ids[::-1], 7)
    assert decide.tolist() == again[0][::-1].tolist()
    assert choose.tolist() == again[1][::-1].tolist()
    assert uniforms(ids, 8)[0].tolist() != decide.tolist()


def test_another_purpose_has_numbers_of_its_own():
    ids = [str(i) for i in range(20_000)]
    plain = uniforms(ids, 0)
    other = uniforms(ids, 0, b"another")
    assert uniforms(ids, 0, b"")[0].tolist() == plain[0].tolist()
    for values in (*plain, other[1]):
        assert abs(np.corrcoef(other[0], values)[0, 1]) < 5 / np.sqrt(20_000)


def test_the_numbers_are_uniform_and_independent():
    decide, choose = uniforms([str(i) for i in range(20_000)], 0)
    for values in (decide, choose):
        assert values.min() >= 0
        assert values.max() < 1
        counts, _ = np.histogram(values, 20, (0, 1))
        assert abs(counts - 1000).max() < 5 * np.sqrt(950)
    assert abs(np.corrcoef(decide, choose)[0, 1]) < 5 / np.sqrt(20_000)


@pytest.mark.parametrize("seed", [-1, 0, 2**63 - 1, -(2**63)])
def test_every_64_bit_seed_has_its_own_numbers(seed):
    assert uniforms(["a"], seed)[0][0] != uniforms(["a"], 12345)[0][0]


def test_no_ids_have_no_numbers():
    assert [len(values) for values in uniforms([], 0)] == [0, 0]


def test_a_row_keeps_its_id_when_other_rows_lack_a_value():
    whole = content_hashes([pa.array([1.0, 2.0]), pa.array([3, 4])])
    with_gap = content_hashes([pa.array([1.0, 2.0, None]), pa.array([3, 4, 5])])
    assert with_gap[:2] == whole
    assert with_gap[2] == content_hashes([pa.array([float("nan")]), pa.array([5])])[0]


def test_words_beside_numbers_are_told_apart_wherever_they_end():
    numbers = pa.array([1.0] * 5)
    first, second = pa.array(["ab", "a", "", None, "a"]), pa.array(["c", "bc", "abc", "abc", "bc"])
    hashes = content_hashes([numbers, first, second])
    assert hashes[1] == hashes[4]
    assert len(set(hashes)) == 4
    coded = content_hashes([numbers, first.dictionary_encode(), second])
    assert coded == hashes
