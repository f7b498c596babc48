"""What cannot be stacked is seen before it is: whatever a network does, it does as alone."""

import copy

import pytest
import torch
from torch import nn

from tasks.kernels.stack_trial import can_stack
from tasks.kernels.stacked import Stackable

WIDTH, CLASSES = 6, 3


class Noisy(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class Counted(nn.Module):
    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return x


class Centred(nn.Module):
    def forward(self, x):
        return x - x.mean(0)


class Branching(nn.Module):
    def forward(self, x):
        return x if float(x.sum()) > 0 else -x


@pytest.mark.parametrize("p", [0.0, 0.5])
def test_a_perceptron_can_be_stacked_and_stays_as_it_is(p):
    layers = [nn.Flatten(), nn.Linear(WIDTH, 8), nn.ReLU(), nn.Dropout(p), nn.Linear(8, CLASSES)]
    network = nn.Sequential(*layers).eval()
    before = copy.deepcopy(network.state_dict())
    assert can_stack(network, torch.randn(4, WIDTH))
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("middle", [nn.BatchNorm1d(8), Noisy(), Counted(), Centred(), Branching()])
def test_a_network_that_would_not_say_the_same_alone_cannot_be_stacked(middle):
    network = nn.Sequential(nn.Linear(WIDTH, 8), middle, nn.Linear(8, CLASSES))
    assert not can_stack(network, torch.randn(4, WIDTH))


def test_where_the_head_begins_at_zero_what_lies_below_is_seen_all_the_same():
    network = nn.Sequential(nn.Linear(WIDTH, 8), Centred(), nn.Linear(8, CLASSES))
    nn.init.zeros_(network[2].weight)
    nn.init.zeros_(network[2].bias)
    assert not can_stack(network, torch.randn(4, WIDTH))


class FirstScale(Stackable):
    """Takes the first network's buffer for all."""

    def __init__(self):
        super().__init__()
        self.register_buffer("by", torch.ones(WIDTH))

    def forward(self, x):
        return x * self.by

    def stacked(self, x, buffers):
        return x * buffers["by"][0]


class Damped(nn.Module):
    """Says the same, and learns a hundredth."""

    def forward(self, x):
        if x.requires_grad:
            x.register_hook(lambda grad: grad / 100)
        return x


def cut_off(layer):
    layer.register_forward_pre_hook(lambda _module, inputs: (inputs[0].detach(),))
    return layer


def damped(layer):
    layer.register_full_backward_hook(lambda _module, grads, _outputs: (grads[0] / 100,))
    return layer


@pytest.mark.parametrize(
    "layers",
    [
        [FirstScale(), nn.Linear(WIDTH, CLASSES)],
        [nn.Linear(WIDTH, 8), nn.ReLU(), cut_off(nn.Linear(8, CLASSES))],
        [nn.Linear(WIDTH, 8), Damped(), nn.Linear(8, CLASSES)],
        [nn.Linear(WIDTH, 8), damped(nn.ReLU()), nn.Linear(8, CLASSES)],
    ],
    ids=["another network's buffer", "cut off", "damped", "damped by a hook"],
)
def test_one_that_says_or_learns_something_else_in_a_stack_is_trained_alone(layers):
    assert not can_stack(nn.Sequential(*layers), torch.randn(4, WIDTH))


def test_a_module_with_a_buffer_that_stands_twice_is_trained_alone():
    class Shifted(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("by", torch.ones(WIDTH), persistent=False)

        def forward(self, x):
            return x + self.by

    shifted = Shifted()
    network = nn.Sequential(shifted, nn.Linear(WIDTH, WIDTH), shifted, nn.Linear(WIDTH, CLASSES))
    assert not can_stack(network, torch.randn(4, WIDTH))


class Tied(nn.Module):
    """Two layers with one weight."""

    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.second.weight = self.first.weight

    def forward(self, x):
        return self.head(self.second(torch.relu(self.first(x))))


def test_a_network_with_tied_weights_is_trained_alone():
    assert not can_stack(Tied(), torch.randn(4, WIDTH))
