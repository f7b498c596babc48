"""The networks that are measured, with a batch each; random weights, since only their shapes cost time."""

from __future__ import annotations

import copy
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from tasks.dataset.payload import Payload
from tasks.training.models.resnet import ResNet18

CLASSES, WORDS, TOKENS, WIDTH = 10, 5000, 128, 256


class Subject(NamedTuple):
    """A network in evaluation mode, split at its head, and one batch."""

    name: str
    network: nn.Module
    body: nn.Module
    head: nn.Linear
    x: torch.Tensor
    labels: torch.Tensor
    chunk: int
    """Samples that vmap takes at a time, so that whole gradients fit into memory."""

    @property
    def layers(self) -> list[str]:
        """All modules with parameters of their own."""
        return [name for name, m in self.network.named_modules() if any(True for _ in m.parameters(recurse=False))]

    def of(self, n: int) -> Subject:
        """The same with the first n samples."""
        return self._replace(x=self.x[:n], labels=self.labels[:n])


class Block(nn.Module):
    """Pre-norm attention and a multi-layer perceptron, from plain Linear layers so that every peer can take them."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x + attention + perceptron."""
        n, t, width = x.shape
        qkv = self.qkv(self.before(x)).reshape(n, t, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2])
        x = x + self.out(seen.transpose(1, 2).reshape(n, t, width))
        return x + self.down(functional.gelu(self.up(self.between(x))))


class Mean(nn.Module):
    """Over tokens."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """n × t × width to n × width."""
        return x.mean(1)


class FrozenNorm(nn.Module):
    """BatchNorm in evaluation mode as a module that has no training mode: Opacus takes no gradients of one that is in
    evaluation mode, and refuses BatchNorm in training mode."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.register_buffer("mean", norm.running_mean)
        self.register_buffer("std", (norm.running_var + norm.eps).sqrt())

    def normal(self, x: torch.Tensor) -> torch.Tensor:
        """x̂."""
        return (x - self.mean.view(-1, 1, 1)) / self.std.view(-1, 1, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalised, scaled, shifted."""
        return self.normal(x) * self.weight.view(-1, 1, 1) + self.bias.view(-1, 1, 1)


def without_batchnorm(network: nn.Module) -> nn.Module:
    """A copy with FrozenNorm for BatchNorm."""
    network = copy.deepcopy(network)
    for module in list(network.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, nn.BatchNorm2d):
                setattr(module, name, FrozenNorm(child))
    return network


def subjects(device: torch.device, *, quick: bool) -> dict[str, Subject]:
    """The three networks, by name."""
    torch.manual_seed(0)
    n = 8 if quick else 32
    image = Payload(kind="image", columns=("x",), shape=(3, 32, 32), dtype="uint8")
    resnet = ResNet18().build(image, CLASSES)
    x = torch.randn(n, 3, 32, 32)
    assert isinstance(resnet, nn.Sequential)
    resnet.train()
    with torch.no_grad():
        for _ in range(3):
            resnet(torch.randn(8, 3, 32, 32))  # BatchNorm gets statistics other than 0 and 1
    mlp = nn.Sequential(nn.Linear(256, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, CLASSES))
    body = [nn.Embedding(WORDS, WIDTH), *(Block(WIDTH, 4) for _ in range(6)), nn.LayerNorm(WIDTH), Mean()]
    encoder = nn.Sequential(*body, nn.Linear(WIDTH, CLASSES))
    t = 4 if quick else 16
    made = {
        "ResNet-18": (resnet, x, 8),
        "MLP": (mlp, torch.randn(128 if quick else 512, 256), 512),
        "transformer": (encoder, torch.randint(WORDS, (t, TOKENS)), t),
    }
    found = {}
    for name, (network, inputs, chunk) in made.items():
        network.eval().to(device)
        labels = torch.randint(CLASSES, (len(inputs),), device=device)
        head = network[-1]
        assert isinstance(head, nn.Linear)
        found[name] = Subject(name, network, network[:-1], head, inputs.to(device), labels, chunk)
    return found
