"""No product with the factors differs from the explicit matrix's."""

import pytest
import torch
from jaxtyping import TypeCheckError

from tasks.kernels.gradients import FactorGradients, Whole

CLOSE = {"rtol": 1e-9, "atol": 1e-11}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def factored(n=30, c=1, k=3, h1=5, joined="sum", seed=0, dtype=torch.float64):
    generator = seeded(seed)
    residual = torch.randn(n, c, k, generator=generator, dtype=dtype)
    return FactorGradients(residual, torch.randn(n, c, h1, generator=generator, dtype=dtype), joined)


def dense(gradients):
    """The n × p matrix, by an outer product for each sample and term."""
    rows = []
    for residual, features in zip(gradients.residual, gradients.features, strict=True):
        terms = [torch.outer(r, h).flatten() for r, h in zip(residual, features, strict=True)]
        rows.append(sum(terms) if gradients.joined == "sum" else torch.cat(terms))
    return torch.stack(rows)


SHAPES = [(1, 1, 2, 1), (17, 1, 3, 5), (9, 3, 2, 4)]


@pytest.mark.parametrize("m", [1, 4])
@pytest.mark.parametrize("joined", ["sum", "stack"])
@pytest.mark.parametrize(("n", "c", "k", "h1"), SHAPES)
def test_products_with_the_factors_are_those_of_the_explicit_matrix(monkeypatch, n, c, k, h1, joined, m):
    monkeypatch.setattr("tasks.kernels.pieces._AT_A_TIME", 40)  # several pieces
    gradients = factored(n, c, k, h1, joined)
    matrix = dense(gradients)
    assert (gradients.samples, gradients.parameters) == matrix.shape
    v = torch.randn(m, matrix.shape[1], generator=seeded(1), dtype=torch.float64)
    w = torch.randn(m, n, generator=seeded(2), dtype=torch.float64)
    some = torch.randint(n, (5,), generator=seeded(3))
    for form in (gradients, Whole(matrix)):
        torch.testing.assert_close(form.dots(v), v @ matrix.T, **CLOSE)
        torch.testing.assert_close(form.weighted_sum(w), w @ matrix, **CLOSE)
        torch.testing.assert_close(form.squares(), matrix.square().sum(1), **CLOSE)
        torch.testing.assert_close(form.dense(slice(1, 4)), matrix[1:4], **CLOSE)
        torch.testing.assert_close(form.at(some).dots(v), v @ matrix[some].T, **CLOSE)


def test_gradients_that_cancel_are_summed_in_float64():
    gradients = factored(2000, dtype=torch.float32)
    gradients.residual[1000:] = -gradients.residual[:1000]
    gradients.features[1000:] = gradients.features[:1000]
    gradients.residual[0] *= 1 + 1e-4
    double = FactorGradients(gradients.residual.double(), gradients.features.double(), "sum")
    found = gradients.weighted_sum(torch.ones(1, 2000, dtype=torch.float64))[0]
    torch.testing.assert_close(found, dense(double).sum(0), rtol=1e-6, atol=0)


def test_factors_of_different_lengths_are_refused():
    with pytest.raises(TypeCheckError):
        FactorGradients(torch.zeros(3, 1, 2), torch.zeros(4, 1, 2), "sum")
