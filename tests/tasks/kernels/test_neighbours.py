"""The nearest are those a loop over all pairs finds, nobody is its own neighbour, and scale and shift mean nothing."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from tasks.kernels import neighbours
from tasks.kernels.neighbours import comparable, nearest, votes


def by_loop(queries, references, themselves, count):
    """Sorted distances of each query to its ``count`` nearest, in float64."""
    found = []
    for q, own in zip(queries.double(), themselves.tolist(), strict=True):
        distances = [float((q - r).norm()) for j, r in enumerate(references.double()) if j != own]
        found.append(sorted(distances)[:count])
    return np.array(found)


def together(queries, references, themselves, count):
    """All blocks of ``nearest``, checked to follow one another."""
    positions, distances, at = [], [], 0
    for block, found, far in nearest(queries, references, themselves, count):
        assert block.start == at
        at += len(found)
        positions.append(found)
        distances.append(far)
    assert at == len(queries)
    return torch.cat(positions), torch.cat(distances)


@st.composite
def clouds(draw):
    n, d = draw(st.integers(2, 25)), draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 1000)))
    x = torch.randn(n, d, generator=generator) * draw(st.sampled_from([1e-3, 1.0, 100.0]))
    members = torch.randperm(n, generator=generator)[: draw(st.integers(2, n))].sort().values
    own = torch.full((n,), -1)
    own[members] = torch.arange(len(members))
    return x, x[members], own, draw(st.integers(1, len(members) - 1))


@settings(deadline=None)
@given(clouds(), st.integers(1, 60))
def test_the_nearest_are_those_of_a_loop_over_all_pairs_whatever_the_block(drawn, at_a_time):
    x, references, own, count = drawn
    usual, neighbours._AT_A_TIME = neighbours._AT_A_TIME, at_a_time
    try:
        found, far = together(x, references, own, count)
    finally:
        neighbours._AT_A_TIME = usual
    expected = by_loop(x, references, own, count)
    scale = float(x.abs().max())
    # Squares cancel: the error is that of ‖q‖² in float32, under a root.
    np.testing.assert_allclose(far.numpy(), expected, rtol=1e-3, atol=2e-3 * scale)
    np.testing.assert_allclose((x[:, None] - references[found]).norm(dim=2).numpy(), expected, atol=2e-3 * scale)
    assert not (found == own[:, None]).any()
    assert all(len(set(row)) == count for row in found.tolist())
    assert (far.diff(dim=1) >= 0).all()


def test_copies_are_neighbours_of_each_other_and_not_of_themselves():
    x = torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).repeat(2, 1)
    found, _ = together(x, x, torch.arange(6), 1)
    assert found[:, 0].tolist() == [3, 4, 5, 0, 1, 2]


def test_no_more_similarities_than_a_block_holds_are_made_at_a_time():
    references = torch.zeros(100_000, 1)
    block, found, _ = next(nearest(torch.zeros(400, 1), references, torch.full((400,), -1), 3))
    assert block.stop * len(references) <= neighbours._AT_A_TIME
    assert len(found) == block.stop == 167


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 5), st.integers(2, 5), st.integers(0, 99))
def test_votes_are_the_shares_of_the_neighbours_labels(n, j, k, seed):
    generator = np.random.default_rng(seed)
    near, labels = generator.integers(0, 9, (n, j)), generator.integers(0, k, 9)
    found = votes(torch.from_numpy(near), torch.from_numpy(labels), k)
    for i in range(n):
        for c in range(k):
            assert found[i, c] == pytest.approx(sum(labels[m] == c for m in near[i]) / j)
    torch.testing.assert_close(found.sum(1), torch.ones(n))


def test_columns_are_compared_in_units_of_their_own_spread():
    x = torch.randn(50, 3, generator=torch.Generator().manual_seed(0))
    plain = comparable(x, scale=True, unit=False, width=8, seed=0)(x)
    moved = x * torch.tensor([1.0, 1e4, 1e-4]) + torch.tensor([0.0, -7.0, 3.0])
    torch.testing.assert_close(
        comparable(moved, scale=True, unit=False, width=8, seed=0)(moved), plain, rtol=0, atol=5e-2
    )
    wide = (x.double() - x.double().mean(0)) / x.double().std(0, correction=0)
    torch.testing.assert_close(plain.double(), wide, rtol=1e-4, atol=1e-5)


def test_pixels_are_only_centred():
    x = torch.rand(20, 5, generator=torch.Generator().manual_seed(1)) * 255
    torch.testing.assert_close(
        comparable(x, scale=False, unit=False, width=8, seed=0)(x), x - x.mean(0), rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("value", [0.0, 0.1, -7.3, 1e9])
@pytest.mark.parametrize("scale", [True, False])
def test_a_constant_column_has_no_say(value, scale):
    x = torch.randn(3000, 4, generator=torch.Generator().manual_seed(0))
    with_it = torch.cat([x, torch.full((3000, 1), value)], 1)
    found = comparable(with_it, scale=scale, unit=True, width=8, seed=0)(with_it)
    torch.testing.assert_close(
        found[:, :4], comparable(x, scale=scale, unit=True, width=8, seed=0)(x), rtol=0, atol=1e-4
    )


def test_unit_vectors_have_length_one_and_the_centre_itself_none():
    x = torch.tensor([[0.0, 0.0], [2.0, 2.0], [1.0, 1.0]])
    found = comparable(x, scale=False, unit=True, width=8, seed=0)(x)
    assert found.norm(dim=1).tolist() == pytest.approx([1, 1, 0])


def test_wide_inputs_keep_their_distances_about_and_repeat_by_the_seed():
    x = torch.randn(30, 3000, generator=torch.Generator().manual_seed(2))

    def placed(seed):
        return comparable(x, scale=False, unit=False, width=1024, seed=seed)(x)

    assert placed(0).shape == (30, 1024)
    assert torch.equal(placed(0), placed(0))
    assert not torch.equal(placed(0), placed(1))
    ratio = torch.pdist(placed(0)) / torch.pdist(x)
    assert (ratio - 1).abs().max() < 0.15


def test_the_map_is_that_of_its_sample_and_not_of_what_it_is_given():
    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(3))
    mapped = comparable(x[:20], scale=True, unit=False, width=8, seed=0)
    torch.testing.assert_close(mapped(x)[25:], mapped(x[25:]))


def test_widths_that_differ_and_whole_numbers_are_refused():
    with pytest.raises(TypeCheckError):
        votes(torch.zeros(2, 3), torch.zeros(4, dtype=torch.int64), 2)
    with pytest.raises(TypeCheckError):
        list(nearest(torch.zeros(2, 3), torch.zeros(2, 4), torch.tensor([0, 1]), 1))
