"""A function of a matrix at a vector is what its eigenvectors say, by fewer products than a polynomial of it takes."""

import pytest
import torch

from tasks.kernels.curvature import SoftmaxHessian
from tasks.kernels.gradients import FactorGradients
from tasks.kernels.influence import Series, _inverse, damping_of, largest_eigenvalue, lissa
from tasks.kernels.krylov import krylov


def matrix_of(values, seed=0):
    basis = torch.linalg.qr(
        torch.randn(len(values), len(values), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    ).Q
    return basis, (basis * values) @ basis.T


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_function_of_a_matrix_is_that_of_its_eigenvalues(dtype):
    values = torch.logspace(-4, 0, 200, dtype=torch.float64)
    basis, matrix = matrix_of(values)
    v = torch.ones(1, 200, dtype=dtype)
    twin = (v.double() @ basis * torch.exp(-5 * values)) @ basis.T
    products = []

    def product(w):
        products.append(w)
        return w @ matrix.to(dtype)

    found = krylov(product, v, lambda values: torch.exp(-5 * values), 200)
    close = 2e-6 if dtype == torch.float32 else 1e-12
    torch.testing.assert_close(found.sum() * 200**0.5, twin[0], rtol=close, atol=close)
    assert len(products) < 30
    assert found.values[-1] <= 1 + close


def test_a_space_that_is_complete_ends_and_nothing_stays_nothing():
    values = torch.tensor([0.0] * 47 + [1.0, 2.0, 3.0], dtype=torch.float64)
    basis, matrix = matrix_of(values)
    v = basis[:, -3:].sum(1).unsqueeze(0)
    found = krylov(lambda w: w @ matrix, v, torch.sqrt, 50)
    assert len(found.basis) <= 4
    torch.testing.assert_close(found.sum() * v.norm(), (basis * values.sqrt()).sum(1), rtol=1e-9, atol=1e-9)
    assert not krylov(lambda w: w @ matrix, 0 * v, torch.sqrt, 50).sum().any()


def hessian(n=120, k=9, h1=6):
    generator = torch.Generator().manual_seed(0)
    p = torch.softmax(2 * torch.randn(n, k, generator=generator), 1)
    features = torch.randn(n, h1, generator=generator) * torch.logspace(0, -2, h1)
    residual = p - torch.nn.functional.one_hot(torch.arange(n) % k, k)
    return SoftmaxHessian(p, features), FactorGradients(residual.unsqueeze(1), features.unsqueeze(1), "sum")


def test_a_series_over_all_samples_is_its_recursion_in_fewer_products(monkeypatch):
    curvature, gradients = hessian()
    damping, products = damping_of(curvature, 0.1), []
    v = gradients.dense(slice(None)).double().mean(0, keepdim=True)
    # Power iteration by itself.
    w = torch.randn(1, curvature.parameters, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    for _ in range(20):
        w = curvature.product(w / w.norm())
    largest = largest_eigenvalue(curvature, torch.Generator().manual_seed(3), torch.float32)
    assert largest == pytest.approx(float(w.norm()), rel=1e-6)
    scale = 1.1 * largest + damping
    twin = -gradients.dots(_inverse(curvature, v, damping, [None] * 100, scale))[0]

    def product(self, v, of=SoftmaxHessian.product):
        products.append(len(v))
        return of(self, v)

    monkeypatch.setattr(SoftmaxHessian, "product", product)
    series = Series(100, scale=scale)
    found = lissa(gradients, curvature, damping, series, torch.Generator())
    close = {"rtol": 2e-5, "atol": 2e-6 * float(twin.abs().max())}
    torch.testing.assert_close(found, twin, **close)
    assert len(products) < 40
    # Where its basis has no room the series is summed term by term.
    products.clear()
    monkeypatch.setattr("tasks.kernels.krylov._BASIS", curvature.parameters)
    torch.testing.assert_close(lissa(gradients, curvature, damping, series, torch.Generator()), twin, **close)
    assert len(products) == 100
    again = largest_eigenvalue(curvature, torch.Generator().manual_seed(3), torch.float32)
    assert again == pytest.approx(largest, rel=1e-6)


def test_inner_products_of_many_values_keep_their_digits():
    values = torch.full((200_000,), 1e-3, dtype=torch.float64)
    values[:8] = torch.linspace(0.3, 1, 8, dtype=torch.float64)
    v = torch.rand(1, 200_000, generator=torch.Generator().manual_seed(0)) + 0.5
    v[:, :8] = 2000

    def series(values):
        return (1 - (1 - values) ** 101) / values

    twin = series(values) * v[0].double()
    found = krylov(lambda w: w * values.float(), v, series, 101)
    assert len(found.basis) < 20
    assert float((found.sum() * v.double().norm() - twin).norm() / twin.norm()) < 3e-6
