"""The norms of a rank-one gradient are those of the matrix that is never built."""

import pytest
import torch
from jaxtyping import TypeCheckError

from tasks.kernels.norms import rank_one_norms


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


@pytest.mark.parametrize(("n", "k", "h1"), [(0, 2, 3), (1, 2, 1), (40, 10, 17)])
def test_the_norms_are_those_of_the_explicit_matrix(device, n, k, h1):
    generator = torch.Generator().manual_seed(n)
    residual = torch.randn(n, k, generator=generator, dtype=torch.float64).to(device)
    features = torch.randn(n, h1, generator=generator, dtype=torch.float64).to(device)
    l1, l2 = rank_one_norms(residual, features)
    twins = [torch.outer(r, h) for r, h in zip(residual, features, strict=True)]
    assert l1.tolist() == pytest.approx([m.abs().sum().item() for m in twins], rel=1e-12)
    assert l2.tolist() == pytest.approx([m.square().sum().sqrt().item() for m in twins], rel=1e-12)


def test_factors_of_different_lengths_are_refused():
    with pytest.raises(TypeCheckError):
        rank_one_norms(torch.zeros(3, 2), torch.zeros(4, 2))
