"""A projection keeps inner products in expectation, and is told by its seed and the parameter's name alone."""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.random_projection import johnson_lindenstrauss_min_dim

import tasks
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
    monkeypatch.setattr(projections, "_CACHE_VALUES", 0)
    monkeypatch.setattr(projections, "_DRAW_ROWS", 64)
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


def matrix(kind, p, d=24, seed=0, name="w", device=CPU):
    """R, d × p: what becomes of the unit vectors."""
    out = torch.zeros(p, d, device=device)
    Projection(kind, d, seed, device).add(name, torch.eye(p, device=device), out)
    return out.T


@pytest.mark.parametrize("kind", KINDS)
def test_the_blocks_of_all_parameters_sum_to_the_projection_of_the_whole(kind):
    sizes = {"a.weight": 12, "a.bias": 3, "b.weight": 20}
    g = torch.randn(4, 35, generator=torch.Generator().manual_seed(1))
    whole = torch.cat([matrix(kind, p, name=name) for name, p in sizes.items()], 1)
    projection, out = Projection(kind, 24, 0, CPU), torch.zeros(4, 24)
    # In another order than the whole has them: no block depends on what was drawn before.
    for name, block in reversed(list(zip(sizes, g.split(list(sizes.values()), 1), strict=True))):
        projection.add(name, block, out)
    torch.testing.assert_close(out, g @ whole.T, rtol=1e-4, atol=1e-5)


def test_kronecker_takes_a_vector_as_a_matrix_of_one_column():
    g = torch.randn(3, 9, generator=torch.Generator().manual_seed(0))
    p_out, p_in = Projection("kronecker", 24, 0, CPU).factors("w", 9, 1)
    explicit = np.kron(p_out.numpy(), p_in.numpy())
    np.testing.assert_allclose(projected("kronecker", g).numpy(), g.numpy() @ explicit.T, rtol=1e-4, atol=1e-5)


def test_another_process_draws_the_same_matrices():
    script = (
        "import torch; from tasks.kernels.projections import Projection\n"
        f"for kind in {KINDS!r}:\n"
        "    out = torch.zeros(6, 4)\n"
        "    Projection(kind, 4, 7, torch.device('cpu')).add('w', torch.eye(6), out)\n"
        "    print(out.tolist())"
    )
    root = Path(tasks.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], cwd=root, capture_output=True, text=True, timeout=120
    )
    assert done.stdout.splitlines() == [str(matrix(kind, 6, 4, seed=7).T.tolist()) for kind in KINDS], done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("kind", KINDS)
def test_the_matrix_is_the_same_on_every_device(kind):
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device; variants of other tests that need one are not made")
    assert torch.equal(matrix(kind, 40), matrix(kind, 40, device=torch.device("cuda")).cpu())


def test_random_has_signs_countsketch_one_in_each_column_and_sparse_the_stated_density():
    assert set(matrix("random", 40, 16).unique().tolist()) == {-0.25, 0.25}
    sketch = matrix("countsketch", 40, 16)
    assert (sketch != 0).sum(0).tolist() == [1] * 40
    assert set(sketch.unique().tolist()) == {-1.0, 0.0, 1.0}
    p, d = 400, 64
    sparse = matrix("sparse", p, d)
    # Duplicates add up or cancel: few entries are not ± the stated size.
    stated = torch.isclose(sparse.abs(), torch.tensor(math.sqrt(math.sqrt(p) / d)), rtol=1e-3)
    assert (stated | (sparse == 0)).float().mean() > 0.99
    assert stated.float().mean().item() == pytest.approx(1 / math.sqrt(p), rel=0.1)
