"""``torch.func`` takes for every sample what a backward pass of a batch of one gives."""

import pytest
import torch
from torch import nn

from tasks.kernels.functional import sample_gradients
from tasks.kernels.losses import Loss

LOSSES = [Loss(), Loss("cross_entropy", 0.1), Loss("binary_cross_entropy", 0.1), Loss("squared_error")]


class Odd(nn.Module):
    """What hooks do not know: a parameter of its own, a weight used twice, an unused layer, lived-in BatchNorm."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(6))
        self.body = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6), nn.Dropout(0.5))
        self.unused = nn.Linear(2, 3)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        h = torch.tanh(self.body(x * self.scale))
        return self.head(torch.tanh(nn.functional.linear(h, self.body[0].weight)))


def ready(device, n=7):
    torch.manual_seed(0)
    network = Odd().double()
    for _ in range(3):
        network(torch.randn(16, 6, dtype=torch.float64) * 2 + 1)
    x, labels = torch.randn(n, 6, dtype=torch.float64), torch.randint(3, (n,))
    return network.to(device).eval(), x.to(device), labels.to(device)


def one_by_one(network, names, loss, x, labels):
    parameters = [dict(network.named_parameters())[name] for name in names]
    rows = []
    for i in range(len(x)):
        value = loss.losses(network(x[i : i + 1]), labels[i : i + 1]).sum()
        parts = torch.autograd.grad(value, parameters, materialize_grads=True)
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize("chunk", [None, 1, 3, 100])
def test_every_row_is_the_gradient_of_that_sample_alone(device, loss, chunk):
    network, x, labels = ready(device)
    names = [name for name, _ in network.named_parameters()]
    gradients, logits = sample_gradients(network, names, loss, chunk)(x, labels)
    # The loss is taken in float32, whatever the network's arithmetic.
    torch.testing.assert_close(gradients, one_by_one(network, names, loss, x, labels).float(), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(logits, network(x).detach().float())


def test_the_chosen_parameters_come_in_the_order_they_are_named(device):
    network, x, labels = ready(device)
    names = ["head.bias", "scale", "body.0.weight"]
    gradients, _ = sample_gradients(network, names, Loss(), None)(x, labels)
    assert gradients.shape == (7, 3 + 6 + 36)
    torch.testing.assert_close(gradients, one_by_one(network, names, Loss(), x, labels).float(), rtol=1e-4, atol=1e-6)


def test_targets_are_taken_as_well_as_classes(device):
    network, x, _ = ready(device)
    targets = torch.rand(7, 3, device=device).softmax(1)
    gradients, _ = sample_gradients(network, ["head.weight"], Loss(), None)(x, targets)
    expected = one_by_one(network, ["head.weight"], Loss(), x, targets.double())
    torch.testing.assert_close(gradients, expected.float(), rtol=1e-4, atol=1e-6)


def test_the_scale_of_the_loss_does_not_show(device):
    network, x, labels = ready(device)
    plain, _ = sample_gradients(network, ["head.weight"], Loss(), None)(x, labels)
    scaled, _ = sample_gradients(network, ["head.weight"], Loss(), None, 1024.0)(x, labels)
    torch.testing.assert_close(scaled, plain, rtol=1e-5, atol=1e-7)


def test_frozen_parameters_are_taken_and_stay_frozen(device):
    network, x, labels = ready(device)
    expected = one_by_one(network, ["scale"], Loss(), x, labels).float()
    network.requires_grad_(False)
    gradients, logits = sample_gradients(network, ["scale"], Loss(), None)(x, labels)
    torch.testing.assert_close(gradients, expected, rtol=1e-4, atol=1e-6)
    assert not gradients.requires_grad
    assert not logits.requires_grad
    assert not any(p.requires_grad or p.grad is not None for p in network.parameters())


def test_a_random_layer_left_active_is_refused(device):
    network, x, labels = ready(device)
    network.body[2].train()
    with pytest.raises(RuntimeError, match="random"):
        sample_gradients(network, ["scale"], Loss(), None)(x, labels)
