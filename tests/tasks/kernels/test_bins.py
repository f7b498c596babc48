"""The index finds what the exact search finds, but for a few, and says no where it would miss more."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.kernels import bins as module
from tasks.kernels.bins import RECALL, Bins, bins_of
from tasks.kernels.neighbours import comparable, nearest

N, COUNT = 4500, 40


def noise(generator):
    return generator.normal(size=(N, 32))


def crowds(generator):
    """Two hundred of them, so close that seven bits cannot tell their members apart."""
    return generator.normal(size=(200, 32))[generator.integers(0, 200, N)] + 0.01 * generator.normal(size=(N, 32))


def few_dimensions(generator):
    return np.tanh(generator.normal(size=(N, 3)) @ generator.normal(size=(3, 32)))


def heavy_tails(generator):
    return generator.standard_t(1.5, size=(N, 32))


def categories(generator):
    """Mostly equal to many others."""
    return np.concatenate([np.eye(k)[generator.integers(0, k, N)] for k in (20, 10)], 1)


def wide(generator):
    return generator.normal(size=(N, 300))


def vectors(kind, seed=0):
    x = torch.from_numpy(kind(np.random.default_rng(seed))).float()
    return comparable(x, scale=True, unit=True, width=512, seed=0)(x)


@pytest.fixture
def few(monkeypatch):
    """As if a thousand were many."""
    monkeypatch.setattr(module, "EXACT_UP_TO", 1000)


def together(blocks):
    """(positions, distances), of blocks that follow one another."""
    positions, distances, at = [], [], 0
    for block, found, far in blocks:
        assert block.start == at
        at += len(found)
        positions.append(found)
        distances.append(far)
    return torch.cat(positions), torch.cat(distances)


@pytest.mark.parametrize("kind", [noise, crowds, few_dimensions, heavy_tails, categories, wide])
def test_nearly_all_of_the_nearest_are_found_and_nobody_is_its_own(few, kind):
    x = vectors(kind)
    references, own = x[:4000], torch.cat([torch.arange(4000), torch.full((500,), -1)])
    index = bins_of(references, COUNT)
    assert index is not None
    assert index.recall >= RECALL
    exact, far = together(nearest(x, references, own, COUNT))
    found, distances = together(index.nearest(x, own))
    assert not (found == own[:, None]).any()
    assert 0 <= found.min() <= found.max() < 4000
    assert all(len(set(row)) == COUNT for row in found.tolist())
    assert (distances.diff(dim=1) >= 0).all()
    true = (x[:, None] - references[found]).norm(dim=2)
    torch.testing.assert_close(distances, true, rtol=0, atol=2e-3)
    # Of what is equally far any is right.
    assert (true <= far[:, -1:] + 2e-3).float().mean() >= RECALL
    if kind is noise:
        same = [len(set(a) & set(b)) for a, b in zip(found.tolist(), exact.tolist(), strict=True)]
        assert np.mean(same) >= RECALL * COUNT


def test_what_is_found_does_not_depend_on_the_number_of_threads(few):
    x, own, usual = vectors(noise), torch.arange(N), torch.get_num_threads()
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        try:
            index = bins_of(x, COUNT)
            results.append((index.recall, *together(index.nearest(x[:700], own[:700]))))
        finally:
            torch.set_num_threads(usual)
    for recall, found, distances in results[1:]:
        assert recall == results[0][0]
        assert torch.equal(found, results[0][1])
        assert torch.equal(distances, results[0][2])


def test_many_copies_of_the_last_reference_hide_nothing(few):
    """What fills the last piece up is made of it."""
    x = vectors(noise)[:2049]
    x[-30:] = x[-1]
    index = Bins(x, COUNT)
    found, _ = together(index.nearest(x[-1:], torch.tensor([-1])))
    exact, _ = together(nearest(x[-1:], x, torch.tensor([-1]), COUNT))
    assert len(set(found[0].tolist()) & set(exact[0].tolist())) >= 0.9 * COUNT


def test_the_index_is_refused_where_it_misses_much(few, monkeypatch):
    monkeypatch.setattr(module, "_BYTE", 1)
    assert bins_of(vectors(noise), COUNT) is None


def test_the_index_is_not_asked_about_queries_of_which_it_would_miss_many(few):
    """They stand out in a coordinate that no reference has: what else they are is less than a byte tells."""
    x = vectors(noise)[:, :31]
    references = torch.nn.functional.normalize(torch.nn.functional.pad(x[:4000], (0, 1)), dim=1)
    unlike = torch.nn.functional.normalize(torch.nn.functional.pad(0.01 * x[4000:], (0, 1), value=1.0), dim=1)
    index, own = bins_of(references, COUNT), torch.arange(4000)
    assert index is not None
    assert index.for_queries(unlike, references, torch.full((500,), -1)) is None
    like = index.for_queries(references[:700], references, own[:700])
    assert like is not None
    assert like.recall >= RECALL
    assert torch.equal(
        together(like.nearest(references[:9], own[:9]))[0], together(index.nearest(references[:9], own[:9]))[0]
    )


def test_few_references_and_many_neighbours_are_compared_one_by_one(few):
    x = vectors(noise)
    assert bins_of(x[:1000], 5) is None
    assert bins_of(x, N // 10) is None


def test_references_of_several_lengths_are_compared_one_by_one(few):
    x = vectors(noise)
    x[:9] *= 2
    assert bins_of(x, COUNT) is None


def test_a_processor_without_a_product_of_bytes_compares_one_by_one(few, monkeypatch):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "DEFAULT")
    assert bins_of(vectors(noise), COUNT) is None


def test_thirty_thousand_are_compared_one_by_one():
    assert module.EXACT_UP_TO == 30_000


@settings(deadline=None)
@given(st.integers(1, 6), st.integers(0, 5), st.integers(1, 9), st.integers(0, 999))
def test_the_largest_of_a_row_are_those_of_its_sorting(rows, rounds, count, seed):
    width = 4**rounds * max(3, count)
    values = torch.randint(-50, 50, (rows, width), generator=torch.Generator().manual_seed(seed))
    found = values.gather(1, module._largest(values, count)).sort(dim=1, descending=True).values
    assert torch.equal(found, values.sort(dim=1, descending=True).values[:, :count])
