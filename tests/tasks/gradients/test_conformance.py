"""Every gradient kind takes what batch-of-one autograd gives for its layer, and refuses networks it cannot serve."""

import pytest
import torch
from torch import nn

from tasks.errors import BadModel
from tasks.gradients import GRADIENTS
from tasks.gradients.head import Head
from tasks.models.cnn import Cnn
from tasks.models.logistic import Logistic
from tasks.models.mlp import Mlp
from tasks.samples import Payload

VECTOR = Payload(kind="array", columns=("x",), shape=(6,), dtype="float32")
IMAGE = Payload(kind="array", columns=("x",), shape=(2, 8, 8), dtype="float32")
CLASSES = 4


class SharedTrunk(nn.Module):
    """Two heads on one trunk; the logits are the second's, declared first."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Linear(5, CLASSES)
        self.trunk = nn.Linear(6, 5)
        self.side = nn.Linear(5, 3)

    def forward(self, x):
        h = torch.tanh(self.trunk(torch.relu(x)))
        h = h + 0.1 * self.side(h).sum(1, keepdim=True)
        return self.logits(h)


class Normed(nn.Module):
    """A head that is no attribute of Sequential, behind BatchNorm and dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(6, 9), nn.BatchNorm1d(9), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(9, CLASSES)

    def forward(self, x):
        return self.head(self.body(x))


# name → (a network, its head, one input's shape)
NETWORKS = {
    "logistic": lambda: ((net := Logistic().build(VECTOR, CLASSES)), net[-1], (6,)),
    "mlp": lambda: ((net := Mlp(hidden=[8, 5], dropout=0.3).build(VECTOR, CLASSES)), net[-1], (6,)),
    "cnn": lambda: ((net := Cnn(width=3).build(IMAGE, CLASSES)), net[-1], (2, 8, 8)),
    "shared trunk": lambda: ((net := SharedTrunk()), net.logits, (6,)),
    "batchnorm": lambda: ((net := Normed()), net.head, (6,)),
    "no bias": lambda: (
        (net := nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, CLASSES, bias=False))),
        net[-1],
        (6,),
    ),
}
# kind → (the part, the parameters its gradient is taken with respect to, given the head)
KINDS = {"head": Head()}


def ready(name, n=17, seed=0):
    """A network in evaluation mode with lived-in BatchNorm statistics, its head, and n labelled inputs."""
    torch.manual_seed(seed)
    network, head, shape = NETWORKS[name]()
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(torch.randn(32, *shape) * 2 + 1)
    return network.eval(), head, torch.randn(n, *shape), torch.randint(CLASSES, (n,))


def test_every_kind_is_tested():
    assert set(KINDS) == set(GRADIENTS.parts)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_is_that_of_autograd_for_each_sample_alone(kind, name):
    network, head, x, labels = ready(name)
    taken = KINDS[kind].take(network, x, labels)
    gradient = taken.residual[:, :, None] * taken.features[:, None, :]
    for i in range(len(x)):
        network.zero_grad()
        logits = network(x[i : i + 1])
        loss = nn.functional.cross_entropy(logits, labels[i : i + 1])
        loss.backward()
        expected = head.weight.grad if head.bias is None else torch.cat([head.weight.grad, head.bias.grad[:, None]], 1)
        torch.testing.assert_close(gradient[i], expected, rtol=1e-5, atol=1e-6)
        p = logits.softmax(1)[0].detach()
        torch.testing.assert_close(taken.loss[i], loss.detach(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(taken.p_label[i], p[labels[i]], rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(taken.p_predicted[i], p.max(), rtol=1e-5, atol=1e-6)
        assert taken.predicted[i] == p.argmax()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("size", [1, 5])
def test_the_size_of_the_batch_does_not_matter(kind, name, size):
    network, _, x, labels = ready(name)
    whole = KINDS[kind].take(network, x, labels)
    parts = [KINDS[kind].take(network, a, b) for a, b in zip(x.split(size), labels.split(size), strict=True)]
    for field, value in whole._asdict().items():
        joined = torch.cat([getattr(part, field) for part in parts])
        torch.testing.assert_close(joined, value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NETWORKS)
def test_taking_gradients_leaves_the_network_as_it_was(kind, name):
    network, _, x, labels = ready(name)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    KINDS[kind].take(network, x, labels)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert not any(module._forward_hooks for module in network.modules())


class Scaled(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.linear(x) / 2


class ScaledInPlace(Scaled):
    def forward(self, x):
        return self.linear(x).mul_(2)


class Tokens(nn.Module):
    """A linear layer on three vectors a sample."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, CLASSES)

    def forward(self, x):
        return self.linear(x.view(-1, 3, 2)).mean(1)


class NoLayers(nn.Module):
    def forward(self, x):
        return x[:, :CLASSES]


UNFIT = {
    "ends in softmax": (nn.Sequential(nn.Linear(6, CLASSES), nn.Softmax(1)), (6,), "Softmax"),
    "ends in convolution": (
        nn.Sequential(nn.Conv2d(1, CLASSES, 3), nn.AdaptiveAvgPool2d(1), nn.Conv2d(CLASSES, CLASSES, 1), nn.Flatten()),
        (1, 4, 4),
        "Flatten",
    ),
    "no layers": (NoLayers(), (6,), "NoLayers"),
    "scaled": (Scaled(), (6,), "Linear"),
    "scaled in place": (ScaledInPlace(), (6,), "Linear"),
    "ends in ReLU in place": (nn.Sequential(nn.Linear(6, CLASSES), nn.ReLU(inplace=True)), (6,), "ReLU"),
    "several vectors a sample": (Tokens(), (6,), "Linear"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_a_network_that_does_not_end_in_a_linear_layer_is_refused(name):
    network, shape, last = UNFIT[name]
    with pytest.raises(BadModel, match=f"its last layer is a {last}|without layers"):
        Head().check(network, torch.zeros(2, *shape))
    with pytest.raises(BadModel):
        Head().take(network.eval(), torch.randn(3, *shape), torch.zeros(3, dtype=torch.int64))
    assert not any(module._forward_hooks for module in network.modules())
