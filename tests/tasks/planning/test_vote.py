"""The vote is that of the nearest other samples, found by a loop over all pairs, whatever the order of the rows."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from pydantic import ValidationError

from tasks.dataset.payload import Payload
from tasks.dataset.sample_ids import uniforms
from tasks.kernels.bins import bins_of
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import SAMPLES
from tasks.pipeline.schemas import votes as votes_schema
from tasks.planning.neighbours import Electorate, Neighbours
from tasks.planning.vote import vote

CPU = "cpu"


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path, "vote")


def names(n):
    return [f"{i * 7919 % 100_003:032x}" for i in range(n)]


def stored(run, x, labels, ids=None, order=None, shape=None):
    """Samples as ingest leaves them, in two shards, with test samples that nobody may ask."""
    n, order = len(x), np.arange(len(x)) if order is None else order
    ids = ids or names(n)
    k = int(max(labels)) + 1
    flat = pa.FixedSizeListArray.from_arrays(pa.array(x[order].reshape(-1)), x[0].size)
    columns = {
        "sample_id": [ids[i] for i in order],
        "source": ["test"] * n,
        "row": range(n),
        "split": ["train"] * n,
        "label": [str(labels[i]) for i in order],
    }
    table = pa.table([pa.array(columns.get(f.name, [None] * n), f.type) for f in SAMPLES], schema=SAMPLES)
    table = table.append_column("x", flat)
    payload = Payload(kind="array", columns=("x",), shape=shape or x.shape[1:], dtype=str(x.dtype))
    with run.draft("samples") as draft:
        half = n // 2
        for i, part in enumerate((table.slice(0, half), table.slice(half))):
            pq.write_table(part, draft.path(f"samples/train-{i:05d}.parquet", part.num_rows))
        pq.write_table(table.slice(0, 3), draft.path("samples/test-00000.parquet", 3))
        return draft.commit(payload=payload.model_dump(mode="json"), classes=[str(c) for c in range(k)])


def voted(run, samples, **options):
    """sample_id → (votes, ids of the listed neighbours)."""
    artefact = vote.fn(run, samples, Neighbours(**options), CPU)
    table = pq.read_table(run.path(artefact))
    rows = table.to_pylist()
    ids = [row["sample_id"] for row in rows]
    assert ids == sorted(ids)
    assert table.schema.equals(votes_schema(len(samples.facts["classes"]), len(rows[0]["neighbours"])))
    return artefact, {row["sample_id"]: (row["votes"], [ids[j] for j in row["neighbours"]]) for row in rows}


def by_loop(x, labels, ids, asked, count, scale=True, unit=False):
    """The same in float64, one pair at a time."""
    x = x.reshape(len(x), -1).astype(float)
    spread = x.std(0)
    x = (x - x.mean(0)) / (np.where(spread > 0, spread, 1) if scale else 1)
    if unit:
        x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    k, found = max(labels) + 1, {}
    for i, name in enumerate(ids):
        others = sorted((float(np.linalg.norm(x[i] - x[j])), ids[j], j) for j in asked if j != i)[:count]
        found[name] = (
            [sum(labels[j] == c for *_, j in others) / count for c in range(k)],
            [who for _, who, _ in others],
        )
    return found


def agree(found, expected, listed):
    assert found.keys() == expected.keys()
    for name, (ballots, near) in expected.items():
        np.testing.assert_allclose(found[name][0], ballots, atol=1e-6)
        assert found[name][1] == near[:listed]
        assert name not in found[name][1]


def table_data(n=60, d=4, k=3, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, k, n)
    x = generator.normal(size=(n, d)).astype(np.float32)
    x[:, 0] += labels
    return x * np.array([1, 100, 0.01, 5][:d], np.float32), labels.tolist()


@pytest.mark.parametrize("order", [None, "reversed"])
def test_columns_vote_as_the_loop_says(run, order):
    x, labels = table_data()
    samples = stored(run, x, labels, order=None if order is None else np.arange(60)[::-1])
    artefact, found = voted(run, samples)
    assert artefact.facts == {"neighbours": 8, "among": 60}
    agree(found, by_loop(x, labels, names(60), range(60), 8), 8)


def test_wide_inputs_are_compared_by_direction(run):
    generator = np.random.default_rng(1)
    x, labels = generator.normal(2, 1, size=(40, 20)).astype(np.float32), generator.integers(0, 2, 40).tolist()
    samples = stored(run, x, labels)
    _, found = voted(run, samples, count=5)
    agree(found, by_loop(x, labels, names(40), range(40), 5, unit=True), 5)


def test_images_are_centred_and_their_pixels_not_scaled(run):
    generator = np.random.default_rng(2)
    x = generator.integers(0, 256, (30, 2, 3, 4)).astype(np.uint8)
    x[:, :, 0] //= 50
    labels = generator.integers(0, 3, 30).tolist()
    _, found = voted(run, stored(run, x, labels), count=4)
    agree(found, by_loop(x, labels, names(30), range(30), 4, scale=False, unit=True), 4)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e9])
def test_a_constant_column_has_no_vote(run, value):
    x, labels = table_data()
    with_it = np.concatenate([x, np.full((60, 1), value, np.float32)], 1)
    _, expected = voted(run, stored(run, x, labels))
    _, found = voted(run, stored(run, with_it, labels))
    assert found == expected


def test_nobody_asks_itself_and_copies_ask_each_other(run):
    x = np.repeat(np.array([[0.0, 1.0], [5.0, 0.0], [9.0, 9.0]], np.float32), 2, axis=0)
    ids = [f"{c * 32}{suffix}" for c in "abc" for suffix in ("", "-1")]
    _, found = voted(run, stored(run, x, [0, 1, 0, 1, 0, 1], ids), count=1)
    for name, (ballots, near) in found.items():
        assert near[0][:32] == name[:32]
        assert near[0] != name
        # The copy bears the other label, and its own is not asked.
        assert ballots == ([0, 1] if "-" not in name else [1, 0])


def test_its_own_label_does_not_change_a_vote(run):
    x, labels = table_data()
    _, before = voted(run, stored(run, x, labels))
    labels[7] = (labels[7] + 1) % 3
    _, after = voted(run, stored(run, x, labels))
    own = names(60)[7]
    assert after[own] == before[own]
    assert after != before


def test_of_many_only_some_are_asked_the_same_whatever_the_order(run, monkeypatch):
    monkeypatch.setattr("tasks.planning.neighbours._REFERENCES", 100)
    monkeypatch.setattr("tasks.planning.vote.MOST_NAMED", 3)
    x, labels = table_data(300)
    ids = names(300)
    order = np.random.default_rng(0).permutation(300)
    artefact, found = voted(run, stored(run, x, labels))
    _, other = voted(run, stored(run, x, labels, order=order))
    assert artefact.facts == {"neighbours": 10, "among": 100}
    assert other == found
    asked = np.argsort(uniforms(ids, 0)[0])[:100].tolist()
    agree(found, by_loop(x, labels, ids, asked, 10), 3)
    assert {near for _, listed in found.values() for near in listed} <= {ids[j] for j in asked}


def test_more_queries_than_are_taken_at_a_time_are_all_answered(run, monkeypatch):
    monkeypatch.setattr("tasks.kernels.neighbours._AT_A_TIME", 130)
    x, labels = table_data()
    agree(voted(run, stored(run, x, labels))[1], by_loop(x, labels, names(60), range(60), 8), 8)


def test_of_very_many_a_few_neighbours_are_missed_and_it_is_said_how_many(run, monkeypatch):
    generator = np.random.default_rng(3)
    x, labels = generator.normal(size=(2000, 20)).astype(np.float32), generator.integers(0, 3, 2000).tolist()
    samples = stored(run, x, labels)
    exact, expected = voted(run, samples, count=10)
    assert exact.facts == {"neighbours": 10, "among": 2000}
    monkeypatch.setattr("tasks.kernels.bins.EXACT_UP_TO", 1000)
    artefact, found = voted(run, samples, count=10)
    assert 0.99 <= artefact.facts["recall"] <= 1
    moved = [np.abs(np.subtract(found[name][0], expected[name][0])).sum() / 2 for name in found]
    assert np.mean(moved) <= 0.01
    named = [len(set(found[name][1]) & set(expected[name][1])) / 10 for name in found]
    assert np.mean(named) >= 0.99


def test_samples_that_an_index_misses_much_of_are_compared_one_by_one(monkeypatch):
    """As held-out ones may be, which differ from all training samples in what these have in common."""
    monkeypatch.setattr("tasks.kernels.bins.EXACT_UP_TO", 1000)
    generator, unit = torch.Generator().manual_seed(0), torch.nn.functional.normalize
    references = unit(torch.cat([torch.randn(2000, 20, generator=generator), torch.zeros(2000, 1)], 1), dim=1)
    unlike = unit(torch.cat([0.01 * torch.randn(300, 20, generator=generator), torch.ones(300, 1)], 1), dim=1)
    labels, rows, nobody = torch.arange(2000) % 7, np.arange(300), np.full(300, -1)
    index = bins_of(references, 10)
    assert index is not None
    voters = Electorate(np.arange(2000), 10, 7, lambda x: x, references, labels, index)
    own = np.arange(300)
    assert (voters.asked_by(references, own, own).recall or 0) >= 0.99
    asked = voters.asked_by(unlike, rows, nobody)
    assert asked.recall is None
    ((_, shares, near),) = asked.votes(unlike, rows, nobody, 5)
    ((_, expected, nearest),) = replace(voters, bins=None).votes(unlike, rows, nobody, 5)
    np.testing.assert_array_equal(shares, expected)
    np.testing.assert_array_equal(near, nearest)


def test_answers_are_written_in_pieces_as_large_as_are_asked_for_however_an_index_finds_them(monkeypatch):
    """What is kept of each of its small blocks lies between their matrices, and the heap grows: 20 GB of a million."""
    monkeypatch.setattr("tasks.kernels.bins.EXACT_UP_TO", 1000)
    monkeypatch.setattr("tasks.planning.neighbours._QUERIES", 512)
    monkeypatch.setattr("tasks.planning.neighbours._VOTES", 7 * 400)
    x = torch.nn.functional.normalize(torch.randn(2000, 20, generator=torch.Generator().manual_seed(0)), dim=1)
    for classes, size in ((5, 512), (7, 400)):
        voters = Electorate(np.arange(2000), 10, classes, lambda x: x, x, torch.arange(2000) % classes, bins_of(x, 10))
        parts = list(voters.votes(x, np.arange(2000), np.arange(2000), 3))
        assert [at for at, *_ in parts] == [slice(i, min(i + size, 2000)) for i in range(0, 2000, size)]
        assert all(shares.shape == (at.stop - at.start, classes) for at, shares, _ in parts)
        assert all(shares.sum() == pytest.approx(len(shares)) for _, shares, _ in parts)


@pytest.mark.parametrize(("n", "options", "count"), [(2, {}, 1), (3, {"count": 100}, 2), (5, {}, 4)])
def test_fewer_samples_than_neighbours_are_all_asked(run, n, options, count):
    x, labels = table_data(n, k=2)
    labels[:2] = [0, 1]
    artefact, found = voted(run, stored(run, x, labels), **options)
    assert artefact.facts["neighbours"] == count
    agree(found, by_loop(x, labels, names(n), range(n), count), count)


@pytest.mark.parametrize(
    ("samples", "count", "asked"), [(10, None, 5), (400, None, 20), (10**6, None, 100), (50, 7, 7), (4, None, 3)]
)
def test_so_many_neighbours_are_asked(samples, count, asked):
    assert Neighbours(count=count).among(samples) == asked


def test_statistics_are_of_no_more_samples_than_fit_however_many_and_wide_they_are(monkeypatch):
    monkeypatch.setattr("tasks.planning.neighbours._VALUES", 400)
    x = torch.arange(4000.0).view(1000, 4)
    mapped = Neighbours().comparison(x, np.arange(1000), image=False)
    few = x[::10]
    torch.testing.assert_close(mapped(x), (x - few.mean(0)) / few.std(0, correction=0))


@pytest.mark.parametrize("option", [{"count": 0}, {"listed": 9}])
def test_options_out_of_range_are_refused(option):
    with pytest.raises(ValidationError, match=next(iter(option))):
        Neighbours(**option)
