"""Influence is what retraining shows, positive = harmful: a regression is fitted again without each of its samples."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.kernels.curvature import Fisher, SoftmaxHessian
from tasks.kernels.gradients import FactorGradients, Whole
from tasks.kernels.influence import (
    DivergentSeries,
    Series,
    damping_of,
    datainf,
    exact,
    gradient_tracing,
    largest_eigenvalue,
    lissa,
    self_influence,
    self_lissa,
)

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


def drawn(n, k=3, h=4, seed=0):
    """([h; 1], labels) of k overlapping classes, the same whatever the seed."""
    centres = torch.randn(k, h, generator=seeded(99), dtype=torch.float64)
    generator = seeded(seed)
    labels = torch.randint(k, (n,), generator=generator)
    x = centres[labels] + torch.randn(n, h, generator=generator, dtype=torch.float64)
    return torch.cat([x, torch.ones(n, 1, dtype=torch.float64)], 1), labels


def gradients_of(weights, features, labels):
    """(p, gradients) of the cross entropy."""
    p = torch.softmax(features @ weights.T, 1)
    residual = p - torch.nn.functional.one_hot(labels, len(weights))
    return p, FactorGradients(residual.unsqueeze(1), features.unsqueeze(1), "sum")


def fitted(n=60, weight_decay=1e-2):
    """(W, [h; 1], labels, p, gradients) of a softmax regression at its optimum; the first tenth of labels is wrong."""
    features, labels = drawn(n)
    labels = torch.where(torch.arange(n) < n // 10, (labels + 1) % 3, labels)
    weights = optimum(features, labels, torch.ones(n, dtype=torch.float64) / n, 3, weight_decay)
    return weights, features, labels, *gradients_of(weights, features, labels)


def optimum(features, labels, shares, k, weight_decay, start=None):
    """W at the minimum of Σ share · ℓ + ½ weight_decay ‖W‖², by Newton steps with autograd's Hessian."""
    flat = torch.zeros(k * features.shape[1], dtype=torch.float64) if start is None else start.flatten()

    def loss(flat):
        logits = features @ flat.view(k, -1).T
        each = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
        return (shares * each).sum() + weight_decay / 2 * flat.square().sum()

    for _ in range(30):
        gradient = torch.autograd.functional.jacobian(loss, flat)
        step = torch.linalg.solve(torch.autograd.functional.hessian(loss, flat), gradient)
        flat = flat - step
        if step.norm() < 1e-12:
            break
    assert gradient.norm() < 1e-9
    return flat.view(k, -1)


# ---- influence is what retraining shows


@pytest.fixture(scope="module")
def refitted():
    """(influence, what the reference loss is if sample j weighs w/n instead of 1/n) of a softmax regression."""
    weight_decay, (weights, features, labels, p, gradients) = 1e-2, fitted(n=150)
    others, truth = drawn(300, seed=1)
    _, reference = gradients_of(weights, others, truth)
    influence = exact(gradients, SoftmaxHessian(p, features), weight_decay, reference).numpy()

    def loss(j, weight):
        shares = torch.ones(150, dtype=torch.float64) / 150
        shares[j] *= weight
        again = optimum(features, labels, shares, 3, weight_decay, start=weights)
        return float(torch.nn.functional.cross_entropy(others @ again.T, truth))

    return influence, loss


def test_exact_influence_is_the_derivative_of_the_reference_loss_in_a_sample_s_weight(refitted):
    influence, loss = refitted
    for j in (0, 7, 40, 149):
        change = (loss(j, 1.01) - loss(j, 0.99)) / (0.02 / 150)
        assert influence[j] == pytest.approx(change, rel=1e-3)


def test_exact_influence_ranks_samples_by_the_harm_that_leaving_them_out_undoes(refitted):
    influence, loss = refitted
    harm = np.array([loss(0, 1) - loss(j, 0) for j in range(150)])
    assert np.corrcoef(harm.argsort().argsort(), influence.argsort().argsort())[0, 1] > 0.99
    clear = np.abs(harm) > np.median(np.abs(harm))
    assert (np.sign(harm) == np.sign(influence))[clear].all()
    # A sample weighs 1/n; what is left is of second order, its own curvature.
    assert np.polyfit(influence / 150, harm, 1)[0] == pytest.approx(1, abs=0.15)
    # The first tenth of the labels is wrong.
    assert influence[:15].mean() > 0 > influence[15:].mean()


def test_gradient_tracing_is_the_change_that_one_small_step_on_the_sample_makes():
    weights, features, labels, _, gradients = fitted(weight_decay=1.0)
    loss = torch.nn.functional.cross_entropy
    influence = gradient_tracing(gradients)
    before, step = loss(features @ weights.T, labels), 1e-6
    for j in range(len(labels)):
        moved = weights - step * dense(gradients)[j].view_as(weights)
        change = (loss(features @ moved.T, labels) - before) / step
        torch.testing.assert_close(change, influence[j], rtol=1e-3, atol=1e-5)


# ---- each inverse is what it says


@pytest.mark.parametrize("form", ["factors", "rows"])
def test_exact_and_self_influence_are_those_of_the_explicit_inverse(monkeypatch, form):
    monkeypatch.setattr("tasks.kernels.pieces._AT_A_TIME", 64)
    *_, gradients = fitted()
    rows = dense(gradients)
    gradients = gradients if form == "factors" else Whole(rows)
    inverse = torch.linalg.inv(rows.T @ rows / len(rows) + 0.01 * torch.eye(rows.shape[1], dtype=torch.float64))
    mean = rows.mean(0)
    twin = torch.stack([-mean @ inverse @ g for g in rows])
    torch.testing.assert_close(exact(gradients, Fisher(gradients), 0.01), twin, rtol=1e-8, atol=1e-10)
    twin = torch.stack([g @ inverse @ g for g in rows])
    torch.testing.assert_close(self_influence(gradients, Fisher(gradients), 0.01), twin, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("joined", ["sum", "stack"])
def test_datainf_is_its_formula_sample_by_sample(joined):
    gradients, reference = factored(20, 2, joined=joined), factored(7, 2, joined=joined, seed=1)
    rows, damping = dense(gradients), damping_of(Fisher(gradients), 0.1)
    n, p = rows.shape
    assert damping == pytest.approx(float(rows.square().mean()) / 10)  # the authors' lambda_const
    inverse = torch.zeros(p, p, dtype=torch.float64)
    for g in rows:
        # Sherman–Morrison: (g gᵀ + λI)⁻¹
        inverse += torch.linalg.inv(torch.outer(g, g) + damping * torch.eye(p, dtype=torch.float64)) / n
    for of in (None, reference):
        v = dense(of or gradients).mean(0)
        twin = torch.stack([-v @ inverse @ g for g in rows])
        torch.testing.assert_close(datainf(gradients, damping, of), twin, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("curved", ["hessian", "fisher"])
def test_lissa_over_all_samples_converges_to_the_exact_solution(curved):
    _, features, _, p, gradients = fitted(weight_decay=1.0)
    curvature = SoftmaxHessian(p, features) if curved == "hessian" else Fisher(gradients)
    damping = damping_of(curvature, 0.1)
    target = exact(gradients, curvature, damping)
    far, near, there = (
        (lissa(gradients, curvature, damping, Series(depth), seeded()) - target).norm() / target.norm()
        for depth in (5, 50, 1000)
    )
    assert far > near > there
    assert there < 1e-9
    own = self_influence(gradients, curvature, damping)
    torch.testing.assert_close(
        self_lissa(gradients, curvature, damping, Series(1000), seeded()), own, rtol=1e-8, atol=0
    )


def test_lissa_on_mini_batches_comes_near_and_the_nearer_the_more_are_averaged():
    _, features, _, p, gradients = fitted(weight_decay=1.0)
    curvature = SoftmaxHessian(p, features)
    damping = damping_of(curvature, 1.0)
    target, series = exact(gradients, curvature, damping), Series(300, batch=16)
    one, many = (
        (lissa(gradients, curvature, damping, series, seeded(), repeats=repeats) - target).norm() / target.norm()
        for repeats in (1, 30)
    )
    assert many < one < 0.5
    assert many < 0.06
    own = self_influence(gradients, curvature, damping)
    torch.testing.assert_close(
        self_lissa(gradients, curvature, damping, Series(300, batch=48), seeded()), own, rtol=0.2, atol=0
    )


def test_each_sample_s_series_is_that_of_the_sample_alone(monkeypatch):
    _, features, _, p, gradients = fitted()
    curvature, series = SoftmaxHessian(p, features), Series(12, batch=7)
    together = self_lissa(gradients, curvature, 0.01, series, seeded())
    monkeypatch.setattr("tasks.kernels.pieces._AT_A_TIME", 50)
    torch.testing.assert_close(self_lissa(gradients, curvature, 0.01, series, seeded()), together, **CLOSE)
    for j in (0, 31):
        v = dense(gradients)[j]
        # s·x/s by the recursion itself, on the same draws.
        index = torch.randint(60, (12, 7), generator=seeded())
        terms = [curvature.at(row).matrix() + 0.01 * torch.eye(len(v), dtype=torch.float64) for row in index]
        scale, x = max(curvature.at(row).bound() for row in index) + 0.01, v
        for term in terms:
            x = v + x - term @ x / scale
        torch.testing.assert_close(together[j], v @ x / scale, **CLOSE)


def test_float32_is_enough_for_a_long_series():
    _, features, _, p, gradients = fitted(weight_decay=1.0)
    single = FactorGradients(gradients.residual.float(), gradients.features.float(), "sum")
    hessians = [SoftmaxHessian(p, features), SoftmaxHessian(p.float(), features.float())]
    double, found = (
        lissa(g, h, 0.01, Series(1000), seeded()) for g, h in zip((gradients, single), hessians, strict=True)
    )
    torch.testing.assert_close(found, double, rtol=1e-4, atol=1e-5 * float(double.abs().max()))


@pytest.mark.parametrize("batch", [None, 8])
def test_a_scale_below_half_the_largest_eigenvalue_is_told(batch):
    *_, gradients = fitted()
    fisher = Fisher(gradients)
    with pytest.raises(DivergentSeries, match="200 terms at scale"):
        lissa(gradients, fisher, 0.01, Series(200, batch, fisher.bound() / 20), seeded())
    with pytest.raises(DivergentSeries):
        self_lissa(gradients, fisher, 0.01, Series(2000, batch, fisher.bound() / 20), seeded())


# ---- properties

METHODS = {
    "gradient_tracing": lambda g, _: gradient_tracing(g),
    "exact": lambda g, c: exact(g, c, 0.05),
    "datainf": lambda g, _: datainf(g, 0.05),
    "lissa": lambda g, c: lissa(g, c, 0.05, Series(40), seeded()),
    "self_influence": lambda g, c: self_influence(g, c, 0.05),
    "self_lissa": lambda g, c: self_lissa(g, c, 0.05, Series(40), seeded()),
}


@pytest.mark.parametrize("name", METHODS)
@given(seed=st.integers(0, 1000), n=st.integers(1, 25), c=st.integers(1, 3), joined=st.sampled_from(["sum", "stack"]))
@settings(max_examples=20, deadline=None)
def test_the_order_of_samples_and_their_pieces_change_nothing(name, seed, n, c, joined):
    gradients = factored(n, c, joined=joined, seed=seed)
    order = torch.randperm(n, generator=seeded(seed))
    # The series' own scale rests on a random start, which no order of samples changes.
    straight = METHODS[name](gradients, Fisher(gradients))
    shuffled = METHODS[name](gradients.at(order), Fisher(gradients.at(order)))
    torch.testing.assert_close(shuffled, straight[order], rtol=1e-6, atol=1e-9)
    whole = Whole(dense(gradients))
    torch.testing.assert_close(METHODS[name](whole, Fisher(whole)), straight, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("curved", ["hessian", "fisher"])
def test_a_flipped_label_ranks_first_in_a_separable_toy(name, curved):
    generator = seeded(3)
    x = torch.randn(80, 2, generator=generator, dtype=torch.float64) * 0.3
    labels = torch.arange(80) % 2
    x[:, 0] += 2.0 * labels - 1
    features = torch.cat([x, torch.ones(80, 1, dtype=torch.float64)], 1)
    labels[10] = 1
    # A network that was fitted on others: unsure, but right.
    weights = torch.tensor([[-1.0, 0, 0], [1.0, 0, 0]], dtype=torch.float64)
    p, gradients = gradients_of(weights, features, labels)
    curvature = SoftmaxHessian(p, features) if curved == "hessian" else Fisher(gradients)
    suspicion = METHODS[name](gradients, curvature)
    assert int(suspicion.argmax()) == 10
    if "self" not in name:
        assert suspicion[10] > 0


@pytest.mark.parametrize("name", METHODS)
def test_self_influence_is_never_negative_and_nothing_has_none(name):
    gradients = factored(12)
    gradients.residual[5] = 0
    suspicion = METHODS[name](gradients, Fisher(gradients))
    assert suspicion[5] == 0
    assert suspicion.dtype == torch.float64
    if "self" in name:
        assert suspicion.min() == 0


def test_the_largest_eigenvalue_of_what_rounding_made_negative_is_a_number():
    class Rounded(Fisher):
        def product(self, v):
            return -1e-9 * v

    curvature = Rounded(factored(dtype=torch.float32))
    assert largest_eigenvalue(curvature, seeded(), torch.float32) == pytest.approx(1e-9)
