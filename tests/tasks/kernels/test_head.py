"""The closed form is what autograd gives for each sample alone."""

import pytest
import torch
from jaxtyping import TypeCheckError

from tasks.kernels.head import head_gradient
from tasks.kernels.losses import Loss


@pytest.mark.parametrize("loss", [Loss(), Loss("binary_cross_entropy", 0.1), Loss("squared_error")], ids=str)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("n", "k", "h"), [(1, 2, 1), (7, 2, 3), (33, 10, 16)])
def test_the_factors_give_the_gradient_of_each_sample_alone(device, loss, dtype, tolerance, bias, n, k, h):
    torch.manual_seed(n * k + h)
    head = torch.nn.Linear(h, k, bias=bias, dtype=dtype, device=device)
    features = torch.randn(n, h, dtype=dtype, device=device) * 3
    labels = torch.randint(k, (n,), device=device)
    taken = head_gradient(head(features).detach(), features, labels, loss, bias=bias)
    assert taken.features.shape == (n, h + bias)
    gradient = taken.residual[:, :, None] * taken.features[:, None, :]
    for i in range(n):
        head.zero_grad()
        loss.losses(head(features[i : i + 1]), labels[i : i + 1]).sum().backward()
        torch.testing.assert_close(gradient[i, :, :h], head.weight.grad, rtol=tolerance, atol=tolerance)
        if bias:
            torch.testing.assert_close(gradient[i, :, h], head.bias.grad, rtol=tolerance, atol=tolerance)


def test_targets_may_be_numbers_as_in_regression():
    outputs, features, targets = torch.tensor([[3.0]]), torch.tensor([[2.0, 5.0]]), torch.tensor([[1.0]])
    taken = head_gradient(outputs, features, targets, Loss("squared_error"), bias=True)
    assert taken.residual.tolist() == [[2.0]]
    assert taken.features.tolist() == [[2.0, 5.0, 1.0]]


@pytest.mark.parametrize(
    ("logits", "features", "labels"), [((3, 2), (4, 5), (3,)), ((3, 2), (3, 5), (4,)), ((3,), (3, 5), (3,))]
)
def test_shapes_that_do_not_agree_are_refused(logits, features, labels):
    with pytest.raises(TypeCheckError):
        head_gradient(torch.zeros(logits), torch.zeros(features), torch.zeros(labels).long(), Loss(), bias=True)
