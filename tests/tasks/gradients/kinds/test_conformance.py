"""Every gradient kind takes what batch-of-one autograd gives, over every kind of network, or refuses it by name."""

import copy
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import pytest
import torch
from torch import nn
from torch.nn import functional

from tasks.core.errors import BadModel
from tasks.dataset.payload import Payload
from tasks.gradients.kinds import GRADIENTS
from tasks.gradients.kinds.functional import Functional
from tasks.gradients.kinds.head import Head
from tasks.gradients.kinds.layers import Layers
from tasks.gradients.kinds.lora import Lora
from tasks.kernels.factors import Dense, Lookup
from tasks.kernels.losses import Loss
from tasks.training.models.cnn import Cnn
from tasks.training.models.mlp import Mlp

VECTOR = Payload(kind="array", columns=("x",), shape=(6,), dtype="float32")
IMAGE = Payload(kind="array", columns=("x",), shape=(4, 8, 8), dtype="float32")
CLASSES, WORDS, LENGTH = 4, 11, 5


class Repeated(nn.Module):
    """One layer called three times, and one weight in two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.turn, self.other, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES)
        self.other.weight = self.turn.weight

    def forward(self, x):
        return self.head(self.turn(torch.tanh(self.other(torch.tanh(self.turn(torch.tanh(self.turn(x))))))))


class Tied(nn.Module):
    """An embedding whose table is also the output layer's weight."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.norm = nn.Embedding(WORDS, 6, padding_idx=0), nn.LayerNorm(6)
        self.words, self.head = nn.Linear(6, WORDS, bias=False), nn.Linear(WORDS, CLASSES)
        self.words.weight = self.table.weight

    def forward(self, x):
        return self.head(torch.tanh(self.words(self.norm(self.table(x).mean(1)))))


class Transformer(nn.Module):
    """Token and (unbatched) position embeddings before encoder blocks, samples along the first axis or the second."""

    def __init__(self, batch_first=True, norm_first=False) -> None:
        super().__init__()
        self.batch_first = batch_first
        self.tokens, self.places = nn.Embedding(WORDS, 8, padding_idx=0), nn.Embedding(LENGTH, 8)
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, batch_first=batch_first, norm_first=norm_first, dropout=0.1)
            for _ in range(2)
        )
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x):
        h = self.tokens(x) + self.places(torch.arange(LENGTH, device=x.device))
        h = h if self.batch_first else h.transpose(0, 1)
        for block in self.blocks:
            h = block(h, src_key_padding_mask=torch.zeros_like(x, dtype=torch.bool))
        return self.head(h.mean(1 if self.batch_first else 0))


class Crossed(nn.Module):
    """Attention from one input to another of other widths, seen with its weights."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, kdim=2, vdim=3, batch_first=True)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x):
        query, key, value = x[:, :4].reshape(-1, 1, 4), x.view(-1, 3, 2), x.view(-1, 2, 3).repeat(1, 2, 1)[:, :3]
        mixed, weights = self.attention(query, key, value, attn_mask=torch.tensor([[0.0, -1.0, 0.5]], device=x.device))
        return self.head(mixed.squeeze(1)) + weights[:, 0] @ torch.arange(12.0, device=x.device).view(3, CLASSES)


class Convolutions(nn.Module):
    """Groups, stride, dilation, padding by name and by reflection, one and two dimensions, changes in place."""

    def __init__(self) -> None:
        super().__init__()
        self.flat = nn.Sequential(
            nn.Conv2d(4, 8, 3, stride=2, padding=1, groups=2),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, (3, 2), padding="same", dilation=2, padding_mode="reflect"),
            nn.GroupNorm(2, 8),
            nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 1, groups=8, bias=False),
            nn.Conv2d(8, 6, 1, stride=2),
        )
        self.line = nn.Conv1d(6, 6, 3, padding=1, groups=3)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.head(self.line(self.flat(x).flatten(2)).mean(2))


class Lowered(nn.Module):
    """A linear layer beside its low-rank change, named as peft names it."""

    def __init__(self) -> None:
        super().__init__()
        self.base = nn.Linear(6, 7)
        self.lora_A, self.lora_B = nn.Linear(6, 2, bias=False), nn.Linear(2, 7, bias=False)
        self.head = nn.Linear(7, CLASSES)

    def forward(self, x):
        return self.head(torch.relu(self.base(x) + 2 * self.lora_B(self.lora_A(x))))


class Folded(nn.Module):
    """Positions folded into the batch before a linear layer, BatchNorm over them, RMSNorm behind."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.batch, self.root = nn.Linear(2, 5), nn.BatchNorm1d(5), nn.RMSNorm(5)
        self.head = nn.Linear(15, CLASSES)

    def forward(self, x):
        return self.head(self.root(self.batch(self.inner(x.reshape(-1, 2)))).view(-1, 15))


def words(n):
    return torch.randint(0, WORDS, (n, LENGTH))


# name → (network, n → inputs)
NETWORKS = {
    "mlp": (lambda: Mlp(hidden=[8, 5], dropout=0.3).build(VECTOR, CLASSES), lambda n: torch.randn(n, 6)),
    "shared and repeated layers": (Repeated, lambda n: torch.randn(n, 6)),
    "tied embedding": (Tied, words),
    "batchnorm in evaluation mode": (lambda: Cnn(width=3).build(IMAGE, CLASSES), lambda n: torch.randn(n, 4, 8, 8)),
    "transformer": (Transformer, words),
    "transformer, second axis": (lambda: Transformer(batch_first=False, norm_first=True), words),
    "cross attention": (Crossed, lambda n: torch.randn(n, 6)),
    "convolutions": (Convolutions, lambda n: torch.randn(n, 4, 8, 8)),
    "positions in the batch": (Folded, lambda n: torch.randn(n, 6)),
    "lora": (Lowered, lambda n: torch.randn(n, 6)),
}
LOSSES = [Loss(), Loss(smoothing=0.1), Loss("binary_cross_entropy"), Loss("squared_error", 0.1)]
KINDS = {
    "head": Head(),
    "layers": Layers(projection="none"),
    "functional": Functional(projection="none", chunk=3),
    "lora": Lora(projection="none"),
}
# What a kind refuses: torch.func cannot vectorise attention's fused kernel's masks, nor take logits apart for the head.
UNFIT = {("head", "cross attention")} | {("lora", name) for name in NETWORKS if name != "lora"}
PAIRS = [(kind, name) for kind in KINDS for name in NETWORKS if (kind, name) not in UNFIT]


def ready(name, device="cpu", n=7):
    """A network in evaluation mode with lived-in statistics, and n labelled inputs; each time ones of its own."""
    *made, state = _ready(name, device, n)
    torch.set_rng_state(state)
    return copy.deepcopy(tuple(made))


@cache
def _ready(name, device, n):
    """The same, made once, and where the generator is then."""
    torch.manual_seed(0)
    make, inputs = NETWORKS[name]
    network = make()
    network.train()
    with torch.no_grad():
        for _ in range(3):
            network(inputs(32))
    x, y = inputs(n).to(device), torch.randint(CLASSES, (n,)).to(device)
    return network.to(device).eval(), x, y, torch.get_rng_state()


def one_by_one(network, layers, x, y, loss):
    """(whole gradients by the loop of batch-of-one backward passes, their squares by layer)."""
    modules = dict(network.named_modules())
    owner = {}
    for place, name in enumerate(layers):
        for parameter in modules[name].parameters(recurse=False):
            owner.setdefault(id(parameter), place)
    parameters = [p for p in network.parameters() if id(p) in owner]
    rows, squares = [], torch.zeros(len(x), len(layers), device=x.device)
    for i in range(len(x)):
        value = loss.losses(network(x[i : i + 1]), y[i : i + 1]).sum()
        gradients = torch.autograd.grad(value, parameters, materialize_grads=True)
        for parameter, gradient in zip(parameters, gradients, strict=True):
            squares[i, owner[id(parameter)]] += gradient.square().sum()
        rows.append(torch.cat([gradient.flatten() for gradient in gradients]))
    return torch.stack(rows), squares


@cache
def naive(name, layers, loss, device="cpu"):
    """``one_by_one`` of what ``ready`` gives, asked for by several kinds and projections."""
    network, x, y, _ = _ready(name, device, 7)
    return one_by_one(network, layers, x, y, loss)


def test_every_kind_is_tested():
    assert set(KINDS) == set(GRADIENTS.components)


@pytest.mark.parametrize("loss", LOSSES, ids=str)
@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_the_gradient_is_that_of_autograd_for_each_sample_alone(kind, name, loss, device):
    network, x, y = ready(name, device)
    part = KINDS[kind]
    taken = part.taker(network, x, loss, 100)(x, y)
    if kind == "head":
        head = [n for n, m in network.named_modules() if isinstance(m, nn.Linear)][-1]
        expected, _ = naive(name, (head,), loss, device)
        weights = expected[:, : CLASSES * (taken.columns["features"].shape[1] - 1)].view(len(x), CLASSES, -1)
        expected = torch.cat([weights, expected[:, -CLASSES:, None]], 2)
        found = taken.columns["residual"][:, :, None] * taken.columns["features"][:, None, :]
    else:
        expected, squares = naive(name, tuple(part.layers(network)), loss, device)
        found = taken.columns["gradient"]
        torch.testing.assert_close(taken.squares, squares, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)
    torch.testing.assert_close(taken.logits, network(x).detach(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("kind", "name"), [pair for pair in PAIRS if pair[0] != "head"])
def test_normalized_each_matrix_has_a_gradient_of_length_one_and_norms_are_told_as_they_were(kind, name, device):
    network, x, y = ready(name, device)
    part = KINDS[kind].model_copy(update={"normalize": "matrices"})
    taken = part.taker(network, x, Loss(), 100)(x, y)
    layers, modules = part.layers(network), dict(network.named_modules())
    whole, squares = naive(name, tuple(layers), Loss(), device)
    owned = {id(p) for layer in layers for p in modules[layer].parameters(recurse=False)}
    expected, at = [], 0
    for parameter_name, parameter in network.named_parameters():
        if id(parameter) in owned:
            # Hooks see the three projections that attention packs into one parameter.
            packed = 3 if kind != "functional" and "in_proj" in parameter_name else 1
            for gradient in whole[:, at : at + parameter.numel()].chunk(packed, 1):
                length = torch.linalg.vector_norm(gradient, dim=1, keepdim=True)
                matrix = parameter.dim() > 1
                expected.append(torch.where(length > 0, gradient / length, 0) if matrix else torch.zeros_like(gradient))
            at += parameter.numel()
    torch.testing.assert_close(taken.columns["gradient"], torch.cat(expected, 1), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(taken.squares, squares, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_a_network_that_can_be_served_passes_the_check(kind, name):
    network, x, _ = ready(name)
    KINDS[kind].check(network, x)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("projection", ["kronecker", "random", "sparse", "countsketch"])
def test_a_projection_keeps_norms_exact_repeats_by_its_seed_and_does_not_know_the_batch(name, projection):
    network, x, y = ready(name)
    part = Layers(projection=projection, projection_dim=24)
    taken = part.taker(network, x, Loss(), 100)(x, y)
    _, squares = naive(name, tuple(part.layers(network)), Loss())
    torch.testing.assert_close(taken.squares, squares, rtol=1e-3, atol=1e-6)
    assert taken.columns["gradient"].shape == (len(x), 24)
    again = part.taker(network, x, Loss(), 100)
    halves = [again(a, b).columns["gradient"] for a, b in zip(x.split(3), y.split(3), strict=True)]
    torch.testing.assert_close(torch.cat(halves), taken.columns["gradient"], rtol=1e-3, atol=1e-5)
    other = part.model_copy(update={"seed": 1}).taker(network, x, Loss(), 100)(x, y)
    assert not torch.allclose(other.columns["gradient"], taken.columns["gradient"], rtol=0.1)


@pytest.mark.parametrize("projection", ["random", "sparse", "countsketch"])
def test_hooks_and_torch_func_project_alike(projection):
    network, x, y = ready("convolutions")
    options = {"projection": projection, "projection_dim": 24}
    by_hooks = Layers(**options).taker(network, x, Loss(), 100)(x, y)
    by_func = Functional(**options).taker(network, x, Loss(), 100)(x, y)
    torch.testing.assert_close(by_hooks.columns["gradient"], by_func.columns["gradient"], rtol=1e-3, atol=1e-5)


def test_the_automatic_dimension_is_that_of_johnson_and_lindenstrauss():
    from sklearn.random_projection import johnson_lindenstrauss_min_dim

    network, x, y = ready("mlp")
    taken = Layers(projection="sparse", projection_dim="auto").taker(network, x, Loss(), 5000)(x, y)
    assert taken.columns["gradient"].shape[1] == johnson_lindenstrauss_min_dim(5000, eps=0.1)


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_taking_gradients_leaves_the_network_as_it_was(kind, name):
    network, x, y = ready(name)
    state = {key: value.clone() for key, value in network.state_dict().items()}
    next(network.parameters()).requires_grad_(False)
    wanted = [p.requires_grad for p in network.parameters()]
    fast = torch.backends.mha.get_fastpath_enabled()
    KINDS[kind].check(network, x)
    KINDS[kind].taker(network, x, Loss(), 100)(x, y)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())
    assert [p.requires_grad for p in network.parameters()] == wanted
    assert all(p.grad is None for p in network.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m) for m in network.modules())
    assert torch.backends.mha.get_fastpath_enabled() == fast


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("name", ["mlp", "batchnorm in evaluation mode", "transformer"])
def test_half_precision_is_near_and_its_settings_are_undone(precision, name):
    network, x, y = ready(name)
    exact = Layers(projection="none").taker(network, x, Loss(), 100)(x, y).columns["gradient"]
    half = Layers(projection="none", precision=precision).taker(network, x, Loss(), 100)(x, y).columns["gradient"]
    error = float((half - exact).norm() / exact.norm())
    assert 0 < error < {"bf16": 0.1, "fp16": 0.03}[precision]
    assert not torch.is_autocast_enabled("cpu")


# ---- what is refused ---------------------------------------------------------------------------------------------


class Outside(nn.Module):
    """Uses a layer's weight behind its back."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.head(functional.linear(self.hidden(x), self.hidden.weight))


class Meeting(nn.Module):
    """Looks at the mean of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x):
        h = self.hidden(x)
        return self.head(torch.tanh(h - h.mean(0)))


class Overwritten(nn.Module):
    """Changes a layer's input after the layer has seen it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x):
        h = x * 2
        z = self.hidden(h)
        return self.head(z + h.mul_(2))


class Free(nn.Module):
    """A parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.shift, self.head = nn.Parameter(torch.zeros(6)), nn.Linear(6, CLASSES)

    def forward(self, x):
        return self.head(x + self.shift)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.memory, self.head = nn.LSTM(2, 3, batch_first=True), nn.Linear(3, CLASSES)

    def forward(self, x):
        return self.head(self.memory(x.view(-1, 3, 2))[0][:, -1])


REFUSED = {
    "batch statistics": (nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5, track_running_stats=False), nn.Linear(5, 4)),
                         "layer 1:.*keeps no running statistics"),
    "an LSTM": (Recurrent(), "layer memory:.*no rule for a LSTM.*functional"),
    "a free parameter": (Free(), "no rule for a Free"),
    "a weight used elsewhere": (Outside(), "layer hidden.weight:.*not autograd's"),
    "samples that meet": (Meeting(), "not autograd's"),
    "an input changed in place": (Overwritten(), "layer hidden:.*changed in place"),
    "no such inputs": (nn.Linear(7, CLASSES), "inputs of shape \\(6,\\)"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_hooks_cannot_serve_is_refused_with_the_name_of_the_layer(name):
    network, words = REFUSED[name]
    with pytest.raises(BadModel, match=f"(?s){words}"):
        Layers().check(network, torch.zeros(2, 6))


@pytest.mark.parametrize("kind", [Head(), Layers(), Functional()], ids=lambda part: part.kind)
def test_batch_statistics_are_refused_by_every_kind(kind):
    network = REFUSED["batch statistics"][0]
    with pytest.raises(BadModel, match=r"layer 1: .*no running statistics.*no gradient apart"):
        kind.check(network, torch.zeros(2, 6))


@pytest.mark.parametrize("kind", [Head(), Functional()], ids=lambda part: part.kind)
def test_a_network_in_which_samples_meet_is_refused_by_the_other_kinds_too(kind):
    with pytest.raises(BadModel, match="change with the rest of the batch"):
        kind.check(Meeting(), torch.zeros(2, 6))


@pytest.mark.parametrize(
    ("part", "options", "words"),
    [
        (Layers, {"projection_dim": 0}, "greater than or equal to 1"),
        (Layers, {"projection_dim": 509}, r"got 509 × 1"),
        (Functional, {"projection": "kronecker"}, "only the kinds layers and lora have"),
    ],
)
def test_a_projection_that_would_keep_nothing_is_refused_before_anything_runs(part, options, words):
    with pytest.raises(ValueError, match=words):
        part(**options)


def test_norms_of_gradients_that_cancel_are_never_below_zero():
    delta = torch.randn(500, 4, 9, generator=torch.Generator().manual_seed(0)).repeat(1, 2, 1)
    delta[:, 4:] *= -1
    inputs = torch.randn(500, 4, 40, generator=torch.Generator().manual_seed(1)).repeat(1, 2, 1)
    assert 2 * 8 * 8 < 9 * 40
    assert Dense(delta, inputs).squares().min() >= 0
    assert Lookup(torch.arange(4).repeat(500, 2), delta, 4).squares().min() >= 0


def test_many_threads_leave_the_attention_as_they_found_it():
    fast = torch.backends.mha.get_fastpath_enabled()
    network, x, y = ready("transformer")
    part = Layers(layers_like=["*self_attn"], projection="none")
    expected = part.taker(network, x, Loss(), 100)(x, y).columns["gradient"]
    with ThreadPoolExecutor(4) as pool:
        taker = [part.taker(copy.deepcopy(network), x, Loss(), 100) for _ in range(16)]
        found = list(pool.map(lambda take: take(x, y).columns["gradient"], taker))
    assert all(torch.allclose(one, expected, rtol=1e-3, atol=1e-6) for one in found)
    assert torch.backends.mha.get_fastpath_enabled() == fast


def test_batchnorm_in_training_mode_has_no_gradient_by_sample():
    network, x, _ = ready("batchnorm in evaluation mode")
    with pytest.raises(ValueError, match=r"1: a BatchNorm2d that is in training mode"):
        Layers().taker(network.train(), x, Loss(), 100)


@pytest.mark.parametrize("option", [{"max_norm": 1.0}, {"scale_grad_by_freq": True}])
def test_an_embedding_that_looks_at_other_samples_is_refused(option):
    network = nn.Sequential(nn.Embedding(WORDS, 4, **option), nn.Flatten(), nn.Linear(4 * LENGTH, CLASSES))
    with pytest.raises(BadModel, match=r"layer 0: .*depends on the other samples"):
        Layers().check(network, torch.zeros(2, LENGTH, dtype=torch.int64))


def test_torch_func_takes_what_the_hooks_do_not_know():
    network, x = Free(), torch.randn(3, 6)
    y = torch.tensor([0, 1, 2])
    taken = Functional(projection="none").taker(network, x, Loss(), 3)(x, y)
    expected, _ = one_by_one(network, Functional().layers(network), x, y, Loss())
    torch.testing.assert_close(taken.columns["gradient"], expected)


def test_a_pattern_that_names_no_layer_is_refused_with_those_there_are():
    network, x, _ = ready("mlp")
    with pytest.raises(BadModel, match=r"layers: 1, 4, 7, got layer4\.\*, which names none"):
        Layers(layers_like=["layer4.*", "7"]).check(network, x)


def test_a_network_without_low_rank_matrices_is_refused():
    network, x, _ = ready("mlp")
    with pytest.raises(BadModel, match=r"kind lora: .*lora_A and lora_B"):
        Lora().check(network, x)


def test_a_peft_model_gives_the_gradients_of_its_low_rank_matrices():
    peft = pytest.importorskip("peft")
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES))
    network = peft.get_peft_model(inner, peft.LoraConfig(r=2, target_modules=["0"], init_lora_weights=False)).eval()
    part, x, y = Lora(projection="none"), torch.randn(5, 6), torch.arange(5) % CLASSES
    assert len(part.layers(network)) == 2
    part.check(network, x)
    taken = part.taker(network, x, Loss(), 5)(x, y)
    expected, _ = one_by_one(network, part.layers(network), x, y, Loss())
    assert taken.columns["gradient"].shape == (5, 2 * 6 + 8 * 2)
    torch.testing.assert_close(taken.columns["gradient"], expected, rtol=1e-4, atol=1e-6)


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


HEADLESS = {
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


@pytest.mark.parametrize("name", HEADLESS)
def test_a_network_that_does_not_end_in_a_linear_layer_has_no_head(name):
    network, shape, last = HEADLESS[name]
    with pytest.raises(BadModel, match=f"its last layer is a {last}|without layers"):
        Head().check(network, torch.zeros(2, *shape))
    with pytest.raises(BadModel):
        Head().taker(network.eval(), torch.zeros(2, *shape), Loss(), 3)(torch.randn(3, *shape), torch.zeros(3).long())
    assert not any(module._forward_hooks for module in network.modules())
