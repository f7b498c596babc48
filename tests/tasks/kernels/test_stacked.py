"""Networks as one: what a stack says is what each of its networks says alone."""

import copy

import pytest
import torch
from torch import nn

from tasks.kernels.stack_trial import can_stack
from tasks.kernels.stacked import Stack, Stackable, weighted_means

WIDTH, CLASSES = 6, 3


def perceptron(p=0.0):
    layers = [nn.Flatten(), nn.Linear(WIDTH, 8), nn.ReLU(), nn.Dropout(p), nn.Linear(8, CLASSES)]
    return nn.Sequential(*layers)


def networks(count, p=0.0):
    torch.manual_seed(0)
    return [perceptron(p) for _ in range(count)]


def generators(count):
    return [torch.Generator().manual_seed(index) for index in range(count)]


@pytest.mark.parametrize("p", [0.0, 0.4])
def test_outputs_and_gradients_are_those_of_each_network_alone_dropout_and_all(p):
    several = networks(3, p)
    alone = copy.deepcopy(several)
    stack = Stack(several, generators(3))
    x = torch.randn(3, 5, WIDTH)
    for _ in range(2):
        outputs = stack(x)
        outputs.square().sum().backward()
    for index, network in enumerate(alone):
        torch.manual_seed(index)
        for _ in range(2):
            expected = network(x[index])
            expected.square().sum().backward()
        torch.testing.assert_close(outputs[index], expected)
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(stack.parameters[name].grad[index], parameter.grad)


class Scaled(Stackable):
    """Says itself what it does in a stack, and cannot be taken by vmap."""

    def __init__(self):
        super().__init__()
        self.register_buffer("by", torch.rand(WIDTH))

    def forward(self, x):
        assert float(x.sum()) < 1e9
        return x * self.by

    def stacked(self, x, buffers):
        return x * buffers["by"].unsqueeze(1)


class Own(nn.Linear):
    """None of torch's own layers."""

    def forward(self, x):
        return super().forward(x).tanh()


class OwnChain(nn.Sequential):
    """Does more than one after the other."""

    def forward(self, x):
        return super().forward(x) + x


class Squares(nn.Flatten):
    """Does something else than torch's."""

    def forward(self, x):
        return super().forward(x).square()


def hooked(layer, register, hook):
    getattr(layer, register)(hook)
    return layer


LAYERS = {
    "no bias": lambda: [nn.Linear(WIDTH, 8, bias=False), nn.ReLU(), nn.Linear(8, CLASSES)],
    "inputs of two axes": lambda: [nn.Unflatten(1, (2, 3)), nn.Linear(3, 4), nn.ReLU(), nn.Flatten(), nn.Linear(8, 3)],
    "another flatten": lambda: [nn.Unflatten(1, (2, 3, 1)), nn.Flatten(2), nn.Linear(3, 4), nn.Flatten(), Own(8, 3)],
    "a chain in a chain": lambda: [Scaled(), nn.Sequential(nn.ReLU(), nn.Linear(WIDTH, 8), nn.ReLU()), Own(8, 3)],
    "others between": lambda: [nn.Linear(WIDTH, 8), nn.LayerNorm(8), nn.Tanh(), nn.ReLU(), nn.Linear(8, CLASSES)],
    "one twice": lambda: (relu := nn.ReLU(), [nn.Linear(WIDTH, 8), relu, nn.Linear(8, 8), relu, nn.Linear(8, 3)])[1],
    "one that is kept": lambda: [nn.Linear(WIDTH, 8).requires_grad_(False), nn.ReLU(), nn.Linear(8, CLASSES)],
    "own classes": lambda: [Squares(), OwnChain(nn.Linear(WIDTH, WIDTH), nn.ReLU()), nn.Linear(WIDTH, CLASSES)],
    "a hook": lambda: [
        nn.Linear(WIDTH, 8),
        hooked(nn.ReLU(), "register_forward_hook", lambda _module, _inputs, outputs: outputs.square()),
        nn.Linear(8, CLASSES),
    ],
}


@pytest.mark.parametrize("layers", LAYERS.values(), ids=LAYERS)
def test_whatever_layers_follow_one_another_each_network_learns_as_alone(layers):
    torch.manual_seed(0)
    alone = [nn.Sequential(*layers()) for _ in range(3)]
    stack = Stack(copy.deepcopy(alone), generators(3))
    x = torch.randn(3, 5, WIDTH)
    assert can_stack(alone[0], x[0, :4])
    outputs = stack(x)
    outputs.square().sum().backward()
    for index, network in enumerate(alone):
        expected = network(x[index])
        expected.square().sum().backward()
        torch.testing.assert_close(outputs[index], expected)
        for name, parameter in network.named_parameters():
            if parameter.requires_grad:
                torch.testing.assert_close(stack.parameters[name].grad[index], parameter.grad)


def test_rows_that_fill_a_batch_up_change_nothing_that_dropout_draws():
    stack, padded = (Stack(networks(2, 0.5), generators(2)) for _ in range(2))
    x = torch.randn(2, 4, WIDTH)
    filled = torch.cat([x, torch.full((2, 3, WIDTH), 9.0)], 1)
    torch.testing.assert_close(padded(filled, [4, 4])[:, :4], stack(x))


def test_a_network_draws_the_same_whatever_is_beside_it():
    few, many = Stack(networks(2, 0.5), generators(2)), Stack(networks(4, 0.5), generators(4))
    x = torch.randn(4, 5, WIDTH)
    torch.testing.assert_close(few(x[:2]), many(x)[:2])


def test_what_was_trained_is_written_back_to_each_network():
    several = networks(3)
    stack = Stack(several, generators(3))
    with torch.no_grad():
        for value in stack.parameters.values():
            value.mul_(torch.arange(3.0).view(3, *[1] * (value.dim() - 1)))
    expected = [{name: p.detach() * i for name, p in n.named_parameters()} for i, n in enumerate(several)]
    for network, state in zip(stack.write_back(), expected, strict=True):
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(parameter.detach(), state[name])


def test_means_are_over_what_there_is_of_each_batch_whatever_fills_it_up():
    losses = torch.tensor([[1.0, 2.0, torch.inf], [3.0, 4.0, 5.0]], requires_grad=True)
    means = weighted_means(losses, torch.tensor([2, 3]))
    assert means.tolist() == [1.5, 4.0]
    means.sum().backward()
    assert losses.grad.tolist() == [[0.5, 0.5, 0.0], pytest.approx([1 / 3] * 3)]
    assert weighted_means(losses[1:], None).tolist() == [4.0]
