"""The closed form is what autograd gives for each sample alone, at every precision and every logit."""

import math

import pytest
import torch
from jaxtyping import TypeCheckError

from tasks.kernels.head import head_gradient


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request):
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device(request.param)


def one_by_one(head, features, labels):
    """Batch-of-one autograd: (weight gradients, bias gradients, losses, probabilities)."""
    weights, biases, losses, probabilities = [], [], [], []
    for h, y in zip(features, labels, strict=True):
        head.zero_grad()
        logits = head(h[None])
        loss = torch.nn.functional.cross_entropy(logits, y[None])
        loss.backward()
        weights.append(head.weight.grad.clone())
        biases.append(head.bias.grad.clone() if head.bias is not None else None)
        losses.append(loss.detach())
        probabilities.append(logits.detach().softmax(1)[0])
    return torch.stack(weights), biases, torch.stack(losses), torch.stack(probabilities)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n", "k", "h"), [(1, 2, 1), (7, 2, 3), (33, 10, 16)])
def test_the_factors_give_the_gradient_of_each_sample_alone(device, dtype, tolerance, bias, n, k, h):
    torch.manual_seed(n * k + h)
    head = torch.nn.Linear(h, k, bias=bias, dtype=dtype, device=device)
    features = torch.randn(n, h, dtype=dtype, device=device) * 3
    labels = torch.randint(k, (n,), device=device)
    weights, biases, losses, probabilities = one_by_one(head, features, labels)

    taken = head_gradient(head(features).detach(), features, labels, bias=bias)

    near = {"rtol": tolerance, "atol": tolerance}
    gradient = taken.residual[:, :, None] * taken.features[:, None, :]
    assert taken.features.shape == (n, h + bias)
    torch.testing.assert_close(gradient[:, :, :h], weights, **near)
    if bias:
        torch.testing.assert_close(gradient[:, :, h], torch.stack(biases), **near)
    torch.testing.assert_close(taken.loss, losses, **near)
    torch.testing.assert_close(taken.p_label, probabilities.gather(1, labels[:, None])[:, 0], **near)
    torch.testing.assert_close(taken.p_predicted, probabilities.max(1).values, **near)
    assert taken.predicted.tolist() == probabilities.argmax(1).tolist()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("label", [0, 1, 2])
def test_extreme_logits_stay_finite(device, sign, label):
    logits = torch.tensor([[sign * 1e4, 0.0, -sign * 1e4]], device=device)
    taken = head_gradient(logits, torch.ones(1, 2, device=device), torch.tensor([label], device=device), bias=True)
    assert all(torch.isfinite(part).all() for part in taken)
    expected = logits.double().softmax(1)
    expected[0, label] -= 1
    torch.testing.assert_close(taken.residual.double(), expected, rtol=0, atol=1e-6)
    torch.testing.assert_close(taken.loss, logits.max(1).values - logits[:, label])


@pytest.mark.parametrize("gap", [10.0, 20.0, 40.0])
@pytest.mark.parametrize("k", [2, 3, 10])
def test_the_residual_of_a_confident_sample_does_not_cancel(device, gap, k):
    logits = torch.zeros(1, k, device=device)
    logits[0, 0] = gap
    taken = head_gradient(logits, torch.ones(1, 1, device=device), torch.tensor([0], device=device), bias=False)
    others = (k - 1) * math.exp(-gap) / (1 + (k - 1) * math.exp(-gap))
    assert taken.residual[0, 0].item() == pytest.approx(-others, rel=1e-4, abs=0)
    assert taken.residual[0, 1].item() == pytest.approx(others / (k - 1), rel=1e-4, abs=0)


def test_the_residual_sums_to_zero(device):
    torch.manual_seed(0)
    logits = torch.randn(50, 6, device=device) * 5
    taken = head_gradient(logits, torch.ones(50, 1, device=device), torch.arange(50, device=device) % 6, bias=False)
    assert taken.residual.sum(1).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("logits", "features", "labels"), [((3, 2), (4, 5), (3,)), ((3, 2), (3, 5), (4,)), ((3,), (3, 5), (3,))]
)
def test_shapes_that_do_not_agree_are_refused(logits, features, labels):
    with pytest.raises(TypeCheckError):
        head_gradient(torch.zeros(logits), torch.zeros(features), torch.zeros(labels, dtype=torch.int64), bias=True)


def test_labels_that_are_not_whole_numbers_are_refused():
    with pytest.raises(TypeCheckError):
        head_gradient(torch.zeros(3, 2), torch.zeros(3, 5), torch.zeros(3), bias=True)
