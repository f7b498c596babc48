"""Each loss is its formula, and the residual its derivative, at every precision and every logit."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from tasks.kernels.losses import Loss

KINDS = ["cross_entropy", "binary_cross_entropy", "squared_error"]


def formula(kind, z, t, smoothing):
    """The loss of one sample, term by term."""
    k = len(z)
    q = [(1 - smoothing) * float(v) + smoothing / (2 if kind == "binary_cross_entropy" else k) for v in t]
    z = [float(v) for v in z]
    if kind == "squared_error":
        return sum((a - b) ** 2 for a, b in zip(z, q, strict=True)) / 2
    if kind == "cross_entropy":
        total = math.log(sum(math.exp(v) for v in z))
        return -sum(b * (a - total) for a, b in zip(z, q, strict=True))
    p = [1 / (1 + math.exp(-v)) for v in z]
    return -sum(b * math.log(a) + (1 - b) * math.log(1 - a) for a, b in zip(p, q, strict=True))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", ["classes", "targets"])
def test_the_loss_is_its_formula_and_the_residual_its_derivative(device, kind, smoothing, labels):
    generator = torch.Generator().manual_seed(1)
    logits = (torch.randn(20, 5, generator=generator, dtype=torch.float64) * 3).to(device).requires_grad_()
    y = torch.randint(5, (20,), generator=generator).to(device)
    t = torch.nn.functional.one_hot(y, 5).double()
    if labels == "targets":
        t = torch.softmax(torch.randn(20, 5, generator=generator, dtype=torch.float64), 1).to(device)
    loss, given = Loss(kind, smoothing), t if labels == "targets" else y
    values = loss.losses(logits, given)
    expected = [formula(kind, z, row, smoothing) for z, row in zip(logits.tolist(), t.tolist(), strict=True)]
    assert values.tolist() == pytest.approx(expected, rel=1e-9)
    (derivative,) = torch.autograd.grad(values.sum(), logits)
    torch.testing.assert_close(loss.residuals(logits.detach(), given), derivative, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_outcome_tells_loss_probabilities_and_the_most_probable_class(device, kind):
    logits = torch.randn(30, 4, generator=torch.Generator().manual_seed(0)).to(device)
    y = (torch.arange(30) % 4).to(device)
    loss = Loss(kind)
    outcome = loss.outcome(logits, y)
    p = {
        "cross_entropy": logits.softmax(1),
        "binary_cross_entropy": logits.sigmoid(),
        "squared_error": logits.clamp(0, 1),
    }
    assert outcome.predicted.tolist() == logits.argmax(1).tolist()
    torch.testing.assert_close(outcome.p_label, p[kind][torch.arange(30), y])
    torch.testing.assert_close(outcome.p_predicted, p[kind].max(1).values)
    torch.testing.assert_close(outcome.loss, loss.losses(logits, y))


@pytest.mark.parametrize("kind", KINDS[:2])
@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_extreme_logits_stay_finite(device, kind, sign, label):
    logits = torch.tensor([[sign * 1e4, 0.0, -sign * 1e4]], device=device)
    y = torch.tensor([label], device=device)
    outcome, residual = Loss(kind).outcome(logits, y), Loss(kind).residuals(logits, y)
    assert all(torch.isfinite(part).all() for part in (*outcome, residual))
    expected = Loss(kind).probabilities(logits.double())
    expected[0, label] -= 1
    torch.testing.assert_close(residual.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("gap", [10.0, 20.0, 40.0])
@pytest.mark.parametrize("k", [2, 3, 10])
def test_the_residual_of_a_confident_sample_does_not_cancel(device, gap, k):
    logits = torch.zeros(1, k, device=device)
    logits[0, 0] = gap
    y = torch.tensor([0], device=device)
    others = (k - 1) * math.exp(-gap) / (1 + (k - 1) * math.exp(-gap))
    residual = Loss().residuals(logits, y)
    assert residual[0, 0].item() == pytest.approx(-others, rel=1e-4, abs=0)
    assert residual[0, 1].item() == pytest.approx(others / (k - 1), rel=1e-4, abs=0)
    alone = 1 / (1 + math.exp(gap))
    assert Loss("binary_cross_entropy").residuals(logits, y)[0, 0].item() == pytest.approx(-alone, rel=1e-4, abs=0)


def test_labels_of_another_length_are_refused():
    with pytest.raises(TypeCheckError):
        Loss().losses(torch.zeros(3, 2), torch.zeros(4, dtype=torch.int64))


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_class_is_the_same_as_its_one_hot_target(device, kind, smoothing):
    logits = torch.randn(8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(device)
    labels = (torch.arange(8) % 5).to(device)
    one_hot = torch.nn.functional.one_hot(labels, 5).to(logits)
    for of in (Loss(kind, smoothing).losses, Loss(kind, smoothing).residuals):
        torch.testing.assert_close(of(logits, labels), of(logits, one_hot))


@given(st.lists(st.floats(-30, 30), min_size=2, max_size=8), st.integers(0, 7), st.floats(0, 0.9))
def test_the_residual_of_cross_entropy_sums_to_zero(values, label, smoothing):
    logits = torch.tensor([values], dtype=torch.float64)
    residual = Loss("cross_entropy", smoothing).residuals(logits, torch.tensor([label % len(values)]))
    assert abs(float(residual.sum())) < 1e-12


@pytest.mark.parametrize("kind", KINDS[1:])
def test_the_largest_output_is_predicted_also_where_several_probabilities_are_one(device, kind):
    logits = torch.tensor([[100.0, 300.0, 200.0]], device=device)
    outcome = Loss(kind).outcome(logits, torch.tensor([0], device=device))
    assert (outcome.predicted.item(), outcome.p_predicted.item(), outcome.p_label.item()) == (1, 1.0, 1.0)


def test_an_outcome_needs_classes():
    with pytest.raises(TypeCheckError):
        Loss().outcome(torch.zeros(3, 2), torch.zeros(3))
