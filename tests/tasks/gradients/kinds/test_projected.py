"""Every kind that stores one vector a sample projects it alike: exact norms by layer, repeated by the seed alone."""

import pytest
import torch
from torch import nn

from tasks.core.errors import BadModel
from tasks.gradients.kinds.functional import Functional
from tasks.gradients.kinds.layers import Layers
from tasks.gradients.kinds.lora import Lora
from tasks.kernels.losses import Loss

CLASSES = 4
DENSE = ["random", "sparse", "countsketch"]
CHOICES = [(kind, how) for kind in (Layers, Functional, Lora) for how in DENSE] + [
    (Layers, "kronecker"),
    (Lora, "kronecker"),
]
# Largest relative error of a projected gradient under autocast.
BOUNDS = {"bf16": 0.2, "fp16": 0.02}


class Lowered(nn.Module):
    """Low-rank matrices beside frozen ones, by the names that peft gives them, the whole behind a wrapper's."""

    def __init__(self):
        super().__init__()
        self.base = nn.Conv1d(2, 6, 3, groups=2)
        self.inner = nn.Linear(24, 8)
        self.lora_A = nn.ModuleDict({"default": nn.Linear(24, 2, bias=False)})
        self.lora_B = nn.ModuleDict({"default": nn.Linear(2, 8, bias=False)})
        self.head = nn.Linear(8, CLASSES)
        self.base.requires_grad_(False)
        self.inner.requires_grad_(False)

    def forward(self, x):
        h = torch.relu(self.base(x)).flatten(1)
        return self.head(torch.tanh(self.inner(h) + 2 * self.lora_B["default"](self.lora_A["default"](h))))


def ready(n=7):
    torch.manual_seed(0)
    network = nn.Sequential()
    network.add_module("network", Lowered())
    return network.eval(), torch.randn(n, 2, 6), torch.arange(n) % CLASSES


@pytest.mark.parametrize("kind", [Layers, Functional])
def test_layers_without_a_matrix_cannot_be_normalized(kind):
    network = nn.Sequential(nn.Linear(3, 3), nn.LayerNorm(3), nn.Linear(3, CLASSES))
    with pytest.raises(BadModel, match=r"normalize.*weight matrix"):
        kind(layers_like=["1"], normalize="matrices").layers(network)
    assert kind(layers_like=["1", "2"], normalize="matrices").layers(network) == ["1", "2"]


def squares_one_by_one(network, layers, x, labels):
    modules, squares = dict(network.named_modules()), torch.zeros(len(x), len(layers))
    before = [parameter.requires_grad for parameter in network.parameters()]
    network.requires_grad_(True)
    for i in range(len(x)):
        value = nn.functional.cross_entropy(network(x[i : i + 1]), labels[i : i + 1])
        for place, name in enumerate(layers):
            parts = torch.autograd.grad(value, list(modules[name].parameters(recurse=False)), retain_graph=True)
            squares[i, place] = sum(part.square().sum() for part in parts)
    for parameter, asked in zip(network.parameters(), before, strict=True):
        parameter.requires_grad_(asked)
    return squares


@pytest.mark.parametrize(("kind", "how"), CHOICES)
def test_norms_stay_exact_and_only_the_seed_decides_the_rest(kind, how):
    network, x, labels = ready()
    part = kind(projection=how, projection_dim=20)
    part.check(network, x)
    take = part.taker(network, x, Loss(), 7)
    first = take(x, labels)
    assert first.columns["gradient"].shape == (7, 20)
    expected = squares_one_by_one(network, part.layers(network), x, labels)
    torch.testing.assert_close(first.squares, expected, rtol=1e-4, atol=1e-8)
    for again in (take(x, labels), part.taker(network, x[:1], Loss(), 1000)(x, labels)):
        assert torch.equal(again.columns["gradient"], first.columns["gradient"])
    other = part.model_copy(update={"seed": 1}).taker(network, x, Loss(), 7)(x, labels)
    torch.testing.assert_close(other.squares, first.squares)
    apart = (other.columns["gradient"] - first.columns["gradient"]).norm(dim=1)
    assert (apart > 0.1 * first.columns["gradient"].norm(dim=1)).all()


@pytest.mark.parametrize(("kind", "how"), CHOICES)
@pytest.mark.parametrize("size", [1, 3])
def test_the_size_of_the_batch_does_not_matter(kind, how, size):
    network, x, labels = ready()
    take = kind(projection=how, projection_dim=20).taker(network, x, Loss(), 7)
    whole = take(x, labels)
    parts = [take(a, b) for a, b in zip(x.split(size), labels.split(size), strict=True)]
    joined = torch.cat([part.columns["gradient"] for part in parts])
    torch.testing.assert_close(joined, whole.columns["gradient"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(torch.cat([part.squares for part in parts]), whole.squares, rtol=1e-4, atol=1e-8)


@pytest.mark.parametrize("precision", BOUNDS)
@pytest.mark.parametrize(("kind", "how"), CHOICES)
def test_half_precision_is_near_single_under_every_projection(kind, how, precision):
    network, x, labels = ready()
    exact, half = (
        kind(projection=how, projection_dim=20, precision=p).taker(network, x, Loss(), 7)(x, labels)
        for p in ("fp32", precision)
    )
    assert half.columns["gradient"].dtype == torch.float32
    error = (half.columns["gradient"] - exact.columns["gradient"]).norm(dim=1) / exact.columns["gradient"].norm(dim=1)
    assert 0 < error.max() < BOUNDS[precision]
    torch.testing.assert_close(half.squares.sum(1), exact.squares.sum(1), rtol=2 * BOUNDS[precision], atol=1e-8)
    assert not torch.is_autocast_enabled("cpu")


def test_a_wrappers_name_is_no_part_of_a_layers_name():
    network, _, _ = ready()
    assert Layers(layers_like=["head", "inner"]).layers(network) == ["network.inner", "network.head"]
    assert Lora().layers(network) == ["network.lora_A.default", "network.lora_B.default"]
    assert len(Layers().layers(network)) == 5


def test_the_values_that_a_whole_gradient_takes_are_counted_by_the_chosen_layers():
    network, _, _ = ready()
    assert Layers(layers_like=["head"], projection="none").values(network) == 2 * (8 * CLASSES + CLASSES)
    assert Lora(projection="random").values(network) == 2 * (24 * 2 + 2 * 8)
    assert Layers().values(network) == 0
