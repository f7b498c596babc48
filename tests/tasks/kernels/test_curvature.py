"""A curvature is the mean of its samples' explicit matrices; the softmax Hessian is autograd's."""

import pytest
import torch

from tasks.kernels.curvature import Fisher, SoftmaxHessian
from tasks.kernels.gradients import FactorGradients, Whole
from tasks.kernels.influence import damping_of

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


def test_the_softmax_hessian_is_that_of_autograd():
    features = torch.randn(20, 4, generator=seeded(), dtype=torch.float64)
    weights = torch.randn(3, 4, generator=seeded(1), dtype=torch.float64)
    labels = torch.randint(3, (20,), generator=seeded(2))

    def loss(flat):
        return torch.nn.functional.cross_entropy(features @ flat.view(3, 4).T, labels, label_smoothing=0.1)

    twin = torch.autograd.functional.hessian(loss, weights.flatten())
    p = torch.softmax(features @ weights.T, 1)
    torch.testing.assert_close(SoftmaxHessian(p, features).matrix(), twin, **CLOSE)


CURVATURES = {
    "hessian": lambda: SoftmaxHessian(
        torch.softmax(torch.randn(40, 3, generator=seeded(), dtype=torch.float64) * 2, 1),
        torch.randn(40, 5, generator=seeded(1), dtype=torch.float64),
    ),
    "fisher": lambda: Fisher(factored(40, 2)),
    "fisher of a stack": lambda: Fisher(factored(40, 2, joined="stack")),
    "fisher of rows": lambda: Fisher(Whole(dense(factored(40)))),
}


def explicit(curvature):
    """C as the mean of explicit C_i, sample by sample."""
    if isinstance(curvature, Fisher):
        rows = curvature.gradients.dense(slice(None))
        return torch.stack([torch.outer(g, g) for g in rows]).mean(0)
    each = zip(curvature.probabilities, curvature.features, strict=True)
    return torch.stack([torch.kron(torch.diag(p) - torch.outer(p, p), torch.outer(h, h)) for p, h in each]).mean(0)


@pytest.mark.parametrize("name", CURVATURES)
def test_a_curvature_is_the_mean_of_its_samples_matrices(monkeypatch, name):
    monkeypatch.setattr("tasks.kernels.pieces._AT_A_TIME", 100)
    curvature = CURVATURES[name]()
    twin = explicit(curvature)
    v = torch.randn(3, len(twin), generator=seeded(5), dtype=torch.float64)
    some = torch.randint(40, (6,), generator=seeded(6))
    torch.testing.assert_close(curvature.matrix(), twin, **CLOSE)
    torch.testing.assert_close(curvature.product(v), v @ twin, **CLOSE)
    torch.testing.assert_close(curvature.traces().mean(), twin.trace(), **CLOSE)
    torch.testing.assert_close(curvature.at(some).product(v), v @ explicit(curvature.at(some)), **CLOSE)
    assert damping_of(curvature, 0.1) == pytest.approx(0.1 * float(twin.trace()) / len(twin))


@pytest.mark.parametrize("name", CURVATURES)
@pytest.mark.parametrize("few", [1, 4, 40])
def test_no_eigenvalue_is_above_the_bound_and_the_bound_is_near(name, few):
    curvature = CURVATURES[name]().at(torch.arange(few))
    largest = float(torch.linalg.eigvalsh(explicit(curvature))[-1])
    assert largest * (1 - 1e-9) <= curvature.bound() <= 2 * largest


def test_without_curvature_the_damping_is_a_share_of_one():
    certain = SoftmaxHessian(torch.eye(3), torch.ones(3, 2))
    assert certain.bound() == 0
    assert damping_of(certain, 0.1) == 0.1
