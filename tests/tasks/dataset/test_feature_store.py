"""Vectors are kept by content: what is added is found again, copies share one, and what is missing is told."""

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.core.errors import BadArtefact
from tasks.dataset.feature_store import FeatureStore, unused_encoders

DIGEST = "a" * 64


def name(number):
    return f"{number:032x}"


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.integers(0, 40), min_size=1), min_size=1, max_size=4), st.integers(1, 5))
def test_what_is_added_in_parts_is_found_again(tmp_path_factory, parts, width):
    store = FeatureStore(tmp_path_factory.mktemp("lake"), DIGEST)
    for part in parts:
        numbers = sorted(part)
        store.add([name(n) for n in numbers], np.repeat(np.float32(numbers)[:, None], width, axis=1))
    every = sorted(set().union(*parts), reverse=True)
    assert set(store.known().to_pylist()) == {name(n) for n in every}
    x = np.empty((len(every), width), np.float32)
    store.fill([name(n) for n in every], x)
    np.testing.assert_array_equal(x, np.repeat(np.float32(every)[:, None], width, axis=1))


def test_copies_share_a_vector(tmp_path):
    store = FeatureStore(tmp_path, DIGEST)
    store.add([name(1)], np.float32([[3, 4]]))
    x = np.empty((3, 2), np.float32)
    store.fill([f"{name(1)}-2", name(1), f"{name(1)}-1"], x)
    assert x.tolist() == [[3, 4]] * 3


def test_a_sample_without_a_vector_is_told(tmp_path):
    store = FeatureStore(tmp_path, DIGEST)
    store.add([name(1)], np.float32([[3, 4]]))
    with pytest.raises(BadArtefact, match="a vector of every sample, got none of 1"):
        store.fill([name(1), name(2)], np.empty((2, 2), np.float32))


def test_encoders_do_not_meet(tmp_path):
    FeatureStore(tmp_path, DIGEST).add([name(1)], np.float32([[3, 4]]))
    assert len(FeatureStore(tmp_path, "b" * 64).known()) == 0


def test_a_part_is_whole_or_not_there(tmp_path, monkeypatch):
    store = FeatureStore(tmp_path, DIGEST)
    monkeypatch.setattr("tasks.dataset.feature_store.rename_file", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        store.add([name(1)], np.float32([[3, 4]]))
    assert list(store.folder.iterdir()) == []


def test_vectors_that_nobody_asks_for_are_found_by_their_age(tmp_path):
    old, used = (FeatureStore(tmp_path, digit * 64) for digit in "ab")
    for store in (old, used):
        store.add([name(1)], np.float32([[3, 4]]))
        os.utime(store.folder, (0, 0))
    used.fill([name(1)], np.empty((1, 2), np.float32))
    assert unused_encoders(tmp_path, 90) == [old.folder]
    assert unused_encoders(tmp_path / "nowhere", 90) == []


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "foreign"])
def test_a_damaged_part_is_dropped_and_its_contents_are_missing(tmp_path, damage):
    store = FeatureStore(tmp_path, DIGEST)
    store.add([name(1)], np.float32([[3, 4]]))
    store.add([name(2), name(3)], np.arange(400, dtype=np.float32).reshape(2, 200))
    damaged = max(store.folder.iterdir(), key=lambda path: path.stat().st_size)
    data = bytearray(damaged.read_bytes())
    if damage == "flip":
        at = bytes(data).index(np.float32(123).tobytes())
        data[at] ^= 1
    elif damage == "foreign":
        data[-60:-20] = bytes(40)
    damaged.write_bytes({"cut": data[: len(data) // 2], "empty": b""}.get(damage, data))
    assert store.drop_damaged() == [damaged.name]
    assert store.drop_damaged() == []
    assert store.known().to_pylist() == [name(1)]
