"""What a gradient kind cannot take exactly it refuses before anything is trained, and says which layer is at fault.

A network refused for what it does with a layer is served once that layer is left out, or by the kind functional.
"""

import pytest
import torch
from torch import nn

from tasks.core.errors import BadModel
from tasks.gradients.kinds.functional import Functional
from tasks.gradients.kinds.head import Head
from tasks.gradients.kinds.layers import Layers
from tasks.gradients.kinds.lora import Lora
from tasks.kernels.losses import Loss
from tasks.kernels.rules import UnfitLayer

CLASSES, WORDS, LENGTH = 4, 9, 5


class Reading(nn.Module):
    """An LSTM between an embedding and the head."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(WORDS, 6)
        self.inner = nn.ModuleDict({"memory": nn.LSTM(6, 5, batch_first=True)})
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x):
        return self.head(self.inner["memory"](self.table(x))[0].mean(1))


class Tied(nn.Module):
    """One table to look words up in and to score them with."""

    def __init__(self):
        super().__init__()
        self.table, self.words = nn.Embedding(WORDS, 6), nn.Linear(6, WORDS, bias=False)
        self.words.weight = self.table.weight
        self.head = nn.Linear(WORDS, CLASSES)

    def forward(self, x):
        return self.head(torch.tanh(self.words(torch.tanh(self.table(x)).mean(1))))


class Attending(nn.Module):
    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(WORDS, 6), nn.Linear(6, CLASSES)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)

    def forward(self, x):
        h = self.table(x)
        return self.head(self.attention(h, h, h)[0].mean(1))


class Frames(nn.Module):
    """A convolution of positions folded into the batch."""

    def __init__(self):
        super().__init__()
        self.table, self.slide = nn.Embedding(WORDS, 6), nn.Conv1d(1, 2, 3)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x):
        h = self.slide(self.table(x).flatten(0, 1).unsqueeze(1))
        return self.head(torch.tanh(h).view(len(x), LENGTH, 8).mean(1))


class Computed(nn.Module):
    """A weight that is computed from others."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(WORDS, 6)
        self.head = nn.utils.parametrizations.weight_norm(nn.Linear(6, CLASSES))

    def forward(self, x):
        return self.head(self.table(x).mean(1))


class Tokened(nn.Module):
    """A class token: a parameter that no layer owns."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Module()
        self.inner.token = nn.Parameter(torch.randn(1, 1, 6))
        self.table, self.head = nn.Embedding(WORDS, 6), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.head(torch.tanh(torch.cat([self.inner.token.expand(len(x), 1, 6), self.table(x)], 1)).mean(1))


class Centred(nn.Module):
    """BatchNorm without running statistics, deep inside."""

    def __init__(self):
        super().__init__()
        self.table, self.head = nn.Embedding(WORDS, 6), nn.Linear(6, CLASSES)
        self.inner = nn.Sequential(nn.Tanh(), nn.BatchNorm1d(6, track_running_stats=False))

    def forward(self, x):
        return self.head(self.inner(self.table(x).mean(1)))


class Limited(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.ModuleList([nn.Embedding(WORDS, 6, max_norm=1.0)])
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.head(self.inner[0](x).mean(1))


class Doubled(nn.Module):
    """Doubles a layer's input in place after the layer has seen it."""

    def __init__(self):
        super().__init__()
        self.table, self.hidden, self.head = nn.Embedding(WORDS, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x):
        h = self.table(x).mean(1)
        z = self.hidden(h)
        return self.head(z + h.mul_(2))


class Borrowed(nn.Module):
    """Uses a layer's weight outside of the layer."""

    def __init__(self):
        super().__init__()
        self.table, self.hidden, self.head = nn.Embedding(WORDS, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.head(nn.functional.linear(torch.tanh(self.hidden(self.table(x).mean(1))), self.hidden.weight))


# name → (network, layers-like, what the refusal says, layers-like that can be served)
UNFIT = {
    "an LSTM": (Reading, ["*"], "layer inner.memory: .*no rule for a LSTM", ["head"]),
    "a token": (Tokened, ["*"], "layer inner: .*no rule for a Module", ["table", "head"]),
    "batch statistics": (Centred, ["*"], "layer inner.1: .*BatchNorm1d that keeps no running statistics", None),
    "a limited table": (Limited, ["*"], "layer inner.0: .*max_norm", ["head"]),
    "an input changed in place": (Doubled, ["*"], "layer hidden: .*changed in place", None),
    "a borrowed weight": (Borrowed, ["*"], "layer hidden.weight: .*not autograd's", ["table", "head"]),
    "half of a tie": (Tied, ["words", "head"], "layer table.weight: .*not autograd's", ["table", "words", "head"]),
    "attention's output layer alone": (
        Attending,
        ["*out_proj"],
        "layer attention.out_proj.weight: .*not autograd's",
        ["attention", "attention.out_proj"],
    ),
    "a convolution of folded rows": (Frames, ["*"], "layer slide: .*5 rows each", ["table", "head"]),
    "a computed weight": (Computed, ["*"], "layer head: ", ["table"]),
}


def ready(make, n=4):
    torch.manual_seed(0)
    return make().eval(), torch.randint(WORDS, (n, LENGTH)), torch.arange(n) % CLASSES


def one_by_one(network, layers, x, labels):
    modules = dict(network.named_modules())
    owned = {id(p) for name in layers for p in modules[name].parameters(recurse=False)}
    parameters, rows = [p for p in network.parameters() if id(p) in owned], []
    for i in range(len(x)):
        value = nn.functional.cross_entropy(network(x[i : i + 1]), labels[i : i + 1])
        rows.append(torch.cat([part.flatten() for part in torch.autograd.grad(value, parameters)]))
    return torch.stack(rows)


def traces(network):
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in vars(m)) for m in network.modules()]
    return hooks, [(p.requires_grad, p.grad is None) for p in network.parameters()]


@pytest.mark.parametrize("name", UNFIT)
def test_an_unfit_layer_is_refused_by_its_name_and_the_network_left_as_it_was(name):
    make, patterns, words, _ = UNFIT[name]
    network, x, _ = ready(make)
    next(network.parameters()).requires_grad_(False)
    state, before = {key: value.clone() for key, value in network.state_dict().items()}, traces(network)
    fast = torch.backends.mha.get_fastpath_enabled()
    with pytest.raises(BadModel, match=f"(?s)^{words}.*functional"):
        Layers(layers_like=patterns).check(network, x)
    assert traces(network) == before
    assert torch.backends.mha.get_fastpath_enabled() == fast
    if name != "a limited table":
        # (max_norm rewrites the table whenever the network runs.)
        assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


@pytest.mark.parametrize("name", [name for name, (*_, fit) in UNFIT.items() if fit])
def test_the_rest_of_such_a_network_is_served(name):
    make, _, _, patterns = UNFIT[name]
    network, x, labels = ready(make)
    part = Layers(layers_like=patterns, projection="none")
    part.check(network, x)
    taken = part.taker(network, x, Loss(), 4)(x, labels)
    expected = one_by_one(network, part.layers(network), x, labels)
    torch.testing.assert_close(taken.columns["gradient"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("make", [Tokened, Tied, Attending, Frames, Computed, Borrowed])
def test_the_kind_functional_serves_what_hooks_do_not(make):
    network, x, labels = ready(make)
    part = Functional(projection="none")
    part.check(network, x)
    taken = part.taker(network, x, Loss(), 4)(x, labels)
    expected = one_by_one(network, part.layers(network), x, labels)
    torch.testing.assert_close(taken.columns["gradient"], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("part", [Head(), Layers(), Functional()], ids=lambda part: part.kind)
def test_batch_statistics_are_refused_by_every_kind_that_meets_them(part):
    network, x, _ = ready(Centred)
    with pytest.raises(BadModel, match=r"^layer inner.1: .*no running statistics"):
        part.check(network, x)


def test_batchnorm_that_is_still_training_is_refused_by_its_name():
    network = nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, CLASSES))
    x = torch.randn(4, 6)
    statistics = network[2].running_mean.clone()
    with pytest.raises(UnfitLayer, match=r"^2: a BatchNorm1d that is in training mode"):
        Layers().taker(network.train(), x, Loss(), 4)
    assert torch.equal(network[2].running_mean, statistics)


def test_a_check_sets_evaluation_mode_before_it_looks():
    network = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.Linear(5, CLASSES))
    for part in (Head(), Layers(), Functional()):
        part.check(network.train(), torch.randn(4, 6))
        assert not any(module.training for module in network.modules())
    assert torch.equal(network[1].running_mean, torch.zeros(5))


@pytest.mark.parametrize("kind", [Layers, Functional])
@pytest.mark.parametrize("patterns", [["layer4.*"], ["head", "heads"], ["HEAD"]])
def test_a_pattern_that_names_nothing_is_refused_with_the_layers_there_are(kind, patterns):
    network, x, _ = ready(Attending)
    there = "table, head, attention, attention.out_proj"
    with pytest.raises(
        BadModel, match=rf"layers-like: .*{there}, got {patterns[-1].replace('*', r'[*]')}, which names"
    ):
        kind(layers_like=patterns).check(network, x)


@pytest.mark.parametrize("make", [row[0] for row in UNFIT.values()])
def test_a_network_without_low_rank_matrices_is_refused_by_the_kind_lora(make):
    network, x, _ = ready(make)
    with pytest.raises(BadModel, match=r"lora_A and lora_B.*got one without"):
        Lora().check(network, x)


@pytest.mark.parametrize("part", [Layers(), Functional()], ids=lambda part: part.kind)
def test_a_network_for_other_inputs_is_refused_with_their_shape(part):
    with pytest.raises(BadModel, match=r"inputs of shape \(6,\)"):
        part.check(nn.Sequential(nn.Linear(7, CLASSES)), torch.randn(2, 6))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_network_that_torch_func_cannot_take_in_half_precision_is_refused_before_it_is_trained(precision):
    network = nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.Linear(5, CLASSES)).eval()
    x, labels = torch.randn(4, 6), torch.arange(4)
    part = Functional(precision=precision, projection="none")
    try:
        part.taker(network, x, Loss(), 4)(x, labels)
    except RuntimeError:
        # Normalisation under autocast: pytorch issue 184890.
        with pytest.raises(BadModel, match="kind functional"):
            part.check(network, x)
    else:
        part.check(network, x)
