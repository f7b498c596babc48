"""The dense gradient is the outer products of each sample's factors, row-major over (classes, features)."""

import pytest
import torch
from jaxtyping import TypeCheckError

from tasks.kernels.outer import joined_outer


@pytest.mark.parametrize(("n", "c", "k", "h1"), [(0, 1, 2, 3), (1, 1, 2, 1), (19, 1, 5, 7), (6, 3, 4, 2)])
def test_every_row_is_the_sum_or_the_sequence_of_its_outer_products(n, c, k, h1):
    generator = torch.Generator().manual_seed(n)
    residual = torch.randn(n, c, k, generator=generator)
    features = torch.randn(n, c, h1, generator=generator)
    summed, stacked = joined_outer(residual, features, "sum"), joined_outer(residual, features, "stack")
    assert summed.shape == (n, k * h1)
    assert stacked.shape == (n, c * k * h1)
    for i in range(n):
        terms = [torch.outer(r, h).flatten() for r, h in zip(residual[i], features[i], strict=True)]
        torch.testing.assert_close(summed[i], torch.stack(terms).sum(0))
        assert torch.equal(stacked[i], torch.cat(terms))


def test_factors_of_different_lengths_are_refused():
    with pytest.raises(TypeCheckError):
        joined_outer(torch.zeros(3, 1, 2), torch.zeros(2, 1, 4), "sum")
    with pytest.raises(TypeCheckError):
        joined_outer(torch.zeros(3, 1, 2), torch.zeros(3, 2, 4), "sum")
