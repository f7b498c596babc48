"""Bags of tokens: counts, whatever the order, and inner products as of the counts themselves."""

import pytest
import torch

from tasks.kernels.tokens import bag, lengths, rarity


def test_order_and_padding_change_nothing():
    x = torch.tensor([[5, 9, 5, 7, 0, 0], [7, 5, 9, 5, 0, 0]], dtype=torch.int32)
    a, b = bag(x, pad=0, width=4096)
    assert torch.equal(a, b)
    torch.testing.assert_close(a.abs()[a != 0].sort().values, torch.tensor([1.0, 1.0, 2**0.5]))
    assert torch.equal(a, bag(x[:1, :4], pad=0, width=4096)[0])


def test_inner_products_are_nearly_those_of_the_counts():
    generator = torch.Generator().manual_seed(0)
    x = torch.stack([torch.randperm(5000, generator=generator)[:200] + 1 for _ in range(40)])
    shared = torch.tensor([[len(set(a) & set(b)) for b in x.tolist()] for a in x.tolist()])
    hashed = bag(x, pad=0, width=1 << 14)
    assert (hashed @ hashed.T - shared).abs().max() < 25
    assert abs(float((hashed @ hashed.T - shared).mean())) < 1


def test_a_token_counts_apart_in_each_segment():
    ids = torch.tensor([[4, 5], [4, 5]])
    first, second = bag(torch.stack([ids, torch.tensor([[0, 1], [1, 0]])], 1), pad=0, width=1 << 16)
    assert int((first * second).count_nonzero()) == 0


def test_what_every_text_has_weighs_nothing():
    counts = bag(torch.tensor([[4, 5], [4, 6], [4, 7]]), pad=0, width=1 << 16)
    weights = rarity(counts)
    assert sorted(set(weights[counts.any(0)].tolist())) == [0.0, float(torch.log(torch.tensor(2.0)))]


@pytest.mark.parametrize("pair", [False, True])
def test_a_text_is_as_long_as_its_last_place_that_is_no_padding(pair):
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(0, 2, (50, 7), generator=generator)
    ids[0] = 0
    segments = torch.randint(0, 2, (50, 7), generator=generator) * torch.randint(0, 2, (50, 1), generator=generator)
    segments[0] = 0
    naive = [
        max([place + 1 for place in range(7) if row[place] or (pair and marked[place])], default=1)
        for row, marked in zip(ids.tolist(), segments.tolist(), strict=True)
    ]
    assert lengths(torch.stack([ids, segments], 1) if pair else ids, pad=0).tolist() == naive
    assert min(naive) == 1
    assert max(naive) == 7
