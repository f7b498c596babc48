"""The norms of a factored gradient are those of the matrix that is never built."""

import pytest
import torch
from jaxtyping import TypeCheckError

from tasks.kernels import norms
from tasks.kernels.norms import factored_norms


@pytest.mark.parametrize("joined", ["sum", "stack"])
@pytest.mark.parametrize(("n", "c", "k", "h1"), [(0, 1, 2, 3), (1, 1, 2, 1), (40, 1, 10, 17), (9, 3, 4, 5)])
def test_the_norms_are_those_of_the_explicit_matrix(device, joined, n, c, k, h1):
    generator = torch.Generator().manual_seed(n)
    residual = torch.randn(n, c, k, generator=generator, dtype=torch.float64).to(device)
    features = torch.randn(n, c, h1, generator=generator, dtype=torch.float64).to(device)
    l1, l2 = factored_norms(residual, features, joined)
    terms = torch.einsum("nck,nch->nckh", residual, features)
    twins = terms.sum(1) if joined == "sum" else terms.flatten(1)
    assert l1.tolist() == pytest.approx(twins.abs().flatten(1).sum(1).tolist(), rel=1e-12)
    assert l2.tolist() == pytest.approx(twins.square().flatten(1).sum(1).sqrt().tolist(), rel=1e-12)


def test_terms_that_cancel_have_a_norm_of_nearly_nothing_and_never_nan():
    residual = torch.randn(50, 1, 6, generator=torch.Generator().manual_seed(0)).repeat(1, 2, 1)
    features = torch.randn(50, 1, 7, generator=torch.Generator().manual_seed(1)) * torch.tensor(
        [
            [[1.0]],
        ]
    )
    features = torch.cat([features, -features], 1)
    l1, l2 = factored_norms(residual, features, "sum")
    assert l1.max() == 0
    assert torch.isfinite(l2).all()
    assert l2.max() < 1e-2


def test_factors_of_different_lengths_are_refused():
    with pytest.raises(TypeCheckError):
        factored_norms(torch.zeros(3, 1, 2), torch.zeros(4, 1, 2), "sum")


@pytest.mark.parametrize("joined", ["sum", "stack"])
def test_one_term_is_not_built(monkeypatch, joined):
    residual, features = (torch.randn(20, 1, w, generator=torch.Generator().manual_seed(w)) for w in (3, 4))
    monkeypatch.delattr(norms, "joined_outer")
    l1, l2 = factored_norms(residual, features, joined)
    built = residual.transpose(1, 2) * features
    torch.testing.assert_close(l1, built.abs().sum((1, 2)))
    torch.testing.assert_close(l2, built.square().sum((1, 2)).sqrt())


def test_slices_of_samples_change_nothing(device):
    # 2050 matrices of 2048 values are more than one slice.
    generator = torch.Generator().manual_seed(0)
    residual, features = (torch.randn(2050, 2, w, generator=generator).to(device) for w in (32, 64))
    l1, _ = factored_norms(residual, features, "sum")
    assert len(l1) == 2050
    for i in (0, 2047, 2048, 2049):
        torch.testing.assert_close(l1[i], (residual[i].T @ features[i]).abs().sum(), rtol=1e-5, atol=0)
