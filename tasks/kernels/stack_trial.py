"""Whether networks can be stacked (tasks/kernels/stacked.py), tried on two of them."""

from __future__ import annotations

import copy

import torch
from torch import nn

from tasks.kernels.axes import Shaped
from tasks.kernels.stacked import Stack

# How far outputs of a stack may be from those of its networks alone.
_RELATIVE, _ABSOLUTE = 1e-4, 1e-5
# How many times as far gradients, which are sums of more.
_OF_GRADIENTS = 10


def can_stack(network: nn.Module, x: Shaped[torch.Tensor, "b *shape"]) -> bool:
    """Whether a stack of such networks does what each of them does alone, tried on an even batch.

    It does not where vmap cannot take the network, or where a training step makes one sample's outputs depend on
    another's (BatchNorm: rows that fill a batch up would count), changes buffers, or draws random numbers but by
    ``nn.Dropout``. The network stays as it is.
    """
    states = (*network.named_parameters(), *network.named_buffers())
    each = (*network.named_parameters(remove_duplicate=False), *network.named_buffers(remove_duplicate=False))
    # What is tied, or stands twice, has two names there, and one among those that are stacked.
    if {name for name, _ in each} | set(network.state_dict()) != {name for name, _ in states}:
        return False
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            networks = [_moved(network), _moved(network)]
            return _is_alone(networks, x) and _is_separate(networks, x)
    except Exception:  # noqa: BLE001  whatever a network does that vmap cannot take, it is then trained alone
        return False


def _moved(network: nn.Module) -> nn.Module:
    """A copy with other numbers everywhere: where a last layer begins at zero, all networks would look the same."""
    moved = copy.deepcopy(network)
    with torch.no_grad():
        for value in (*moved.parameters(), *moved.buffers()):
            if value.is_floating_point():
                value.add_(0.1 * torch.rand_like(value))
    return moved


def _is_alone(networks: list[nn.Module], x: torch.Tensor) -> bool:
    """Whether a stack has the outputs and gradients of its networks, dropout and all."""
    stack = _stack(networks)
    together = stack(torch.stack([x, x]))
    together.square().sum().backward()
    for index, network in enumerate(networks):
        alone = copy.deepcopy(network).train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(index)
            outputs = alone(x)
        if not _are_near(outputs, together[index]):
            return False
        outputs.square().sum().backward()
        for name, parameter in alone.named_parameters():
            expected, got = parameter.grad, stack.parameters[name].grad
            if (expected is None) != (got is None):
                return False
            if expected is not None and not _are_near(expected, got[index], _OF_GRADIENTS):
                return False
    return True


def _is_separate(networks: list[nn.Module], x: torch.Tensor) -> bool:
    """Whether rows have the same outputs beside other rows, and a training step has a gradient and no new buffer."""
    half = len(x) // 2
    other = torch.cat([x[:half], x[:1].expand(len(x) - half, *x.shape[1:])])
    stack = _stack(networks)
    buffers = {name: value.clone() for name, value in stack.buffers.items()}
    outputs = stack(torch.stack([x, x]))
    outputs.sum().backward()
    others = _stack(networks)(torch.stack([other, other]))
    return (
        _are_near(outputs[:, :half], others[:, :half])
        and all(torch.equal(value, buffers[name]) for name, value in stack.buffers.items())
        and all(value.grad is not None for value in stack.parameters.values() if value.requires_grad)
    )


def _are_near(a: torch.Tensor, b: torch.Tensor, times: int = 1) -> bool:
    return torch.allclose(a, b, rtol=times * _RELATIVE, atol=times * _ABSOLUTE)


def _stack(networks: list[nn.Module]) -> Stack:
    return Stack(networks, [torch.Generator().manual_seed(index) for index in range(len(networks))])
