"""A projection keeps inner products in expectation, and is told by its seed and the parameter's name alone."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.random_projection import johnson_lindenstrauss_min_dim

from tasks.kernels import projections
from tasks.kernels.projections import Projection, johnson_lindenstrauss, split_dimension

KINDS = ["random", "sparse", "countsketch", "kronecker"]
CPU = torch.device("cpu")


def projected(kind, gradients, d=24, seed=0, name="w"):
    out = torch.zeros(len(gradients), d)
    Projection(kind, d, seed, CPU).add(name, gradients, out)
    return out


@pytest.mark.parametrize("kind", KINDS)
def test_inner_products_are_kept_in_expectation(kind):
    g = torch.randn(3, 40, generator=torch.Generator().manual_seed(0))
    g[1] = g[0] + 0.3 * g[1]
    grams = torch.stack([p @ p.T for p in (projected(kind, g, seed=seed) for seed in range(1500))])
    error = (grams.mean(0) - g @ g.T) / (grams.std(0) / 1500**0.5)
    # Six numbers, each a standard normal: beyond 4 once in 2,600 times; and the seeds are fixed.
    assert error.abs().max() < 4


@pytest.mark.parametrize(("o", "i", "d"), [(5, 7, 24), (3, 40, 16), (30, 2, 64)])
def test_the_kronecker_projection_is_that_of_the_flattened_matrix(o, i, d):
    matrix = torch.randn(4, o, i, generator=torch.Generator().manual_seed(0))
    p_out, p_in = Projection("kronecker", d, 3, CPU).factors("w", o, i)
    explicit = np.kron(p_out.numpy(), p_in.numpy())
    found = (p_out @ matrix @ p_in.T).flatten(1)
    np.testing.assert_allclose(found.numpy(), matrix.flatten(1).numpy() @ explicit.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_added_is_linear_and_goes_on_top(kind):
    g = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    out = torch.ones(5, 24)
    Projection(kind, 24, 0, CPU).add("w", g, out)
    torch.testing.assert_close(out - 1, projected(kind, g), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(projected(kind, 2 * g), 2 * projected(kind, g), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_seed_and_name_tell_the_projection_and_nothing_else_does(kind):
    g = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(1)
    first = projected(kind, g)
    torch.manual_seed(2)
    assert torch.equal(first, projected(kind, g))
    assert not torch.allclose(first, projected(kind, g, seed=1))
    assert not torch.allclose(first, projected(kind, g, name="v"))


def test_a_block_too_large_to_keep_is_drawn_again_alike(monkeypatch):
    g = torch.randn(5, 300, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(projections, "_KEPT", 0)
    monkeypatch.setattr(projections, "_DRAWN", 64)
    projection, first, again = Projection("random", 24, 0, CPU), torch.zeros(5, 24), torch.zeros(5, 24)
    projection.add("w", g, first)
    projection.add("w", g, again)
    assert torch.equal(first, again)
    assert not projection._blocks
    assert 0.5 < float((first.norm() / g.norm()) ** 2) < 2


@pytest.mark.parametrize("n", [2, 1000, 50_000])
def test_the_automatic_dimension_is_scikit_learns(n):
    assert johnson_lindenstrauss(n) == johnson_lindenstrauss_min_dim(n, eps=0.1)


@given(st.integers(1, 10_000))
def test_a_dimension_splits_into_two_factors_the_inner_one_the_smaller(d):
    outer, inner = split_dimension(d)
    assert outer * inner == d
    assert inner <= outer
    assert not any(d % i == 0 for i in range(inner + 1, int(d**0.5) + 1))
