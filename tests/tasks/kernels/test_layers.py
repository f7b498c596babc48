"""One backward pass of the batch gives each chosen layer's gradient of each sample, and asks nothing else of a network.

The specification is the loop of batch-of-one backward passes; tests/tasks/gradients/kinds has more networks.
"""

import copy

import numpy as np
import pytest
import torch
from torch import nn

from tasks.kernels.layers import LayerGradientTaker
from tasks.kernels.losses import Loss
from tasks.kernels.precision import running_in
from tasks.kernels.projections import Projection
from tasks.kernels.rules import UnfitLayer

K = 3


@pytest.fixture
def device(device):
    with running_in("fp32", device):
        yield device


class Block(nn.Module):
    """Attention, normalisation, a layer called twice, one never called, and a table tied to the output layer."""

    def __init__(self, batch_first=True):
        super().__init__()
        self.batch_first = batch_first
        self.table = nn.Embedding(7, 8)
        self.places = nn.Embedding(5, 8)
        self.norm = nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
        self.turn = nn.Linear(8, 8)
        self.unused = nn.Linear(3, 2)
        self.words = nn.Linear(8, 7, bias=False)
        self.words.weight = self.table.weight
        self.head = nn.Linear(7, K)

    def forward(self, x):
        h = self.norm(self.table(x) + self.places(torch.arange(x.shape[1], device=x.device)))
        h = h if self.batch_first else h.transpose(0, 1)
        h = self.turn(torch.tanh(self.turn(h + self.attention(h, h, h)[0])))
        return self.head(torch.tanh(self.words(h.mean(1 if self.batch_first else 0))))


OWNERS = ["table", "places", "norm", "attention", "attention.out_proj", "turn", "unused", "words", "head"]


def block(device, n=6, **options):
    torch.manual_seed(0)
    network = Block(**options).to(device).eval()
    return network, torch.randint(7, (n, 5)).to(device), torch.randint(K, (n,)).to(device)


def one_by_one(network, names, x, labels, loss=None):
    """(whole gradients of the layers' parameters, squares by layer), a sample at a time."""
    loss, modules, owner = loss or Loss(), dict(network.named_modules()), {}
    for place, name in enumerate(names):
        for parameter in modules[name].parameters(recurse=False):
            owner.setdefault(id(parameter), place)
    parameters = [p for p in network.parameters() if id(p) in owner]
    rows, squares = [], torch.zeros(len(x), len(names), device=x.device)
    for i in range(len(x)):
        value = loss.losses(network(x[i : i + 1]).float(), labels[i : i + 1]).sum()
        parts = torch.autograd.grad(value, parameters, materialize_grads=True)
        for parameter, part in zip(parameters, parts, strict=True):
            squares[i, owner[id(parameter)]] += part.square().sum()
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows), squares


def agree(network, names, x, labels, loss=None):
    taken = LayerGradientTaker(network, names, x[:2]).take(x, labels, loss or Loss(), None)
    gradient, squares = one_by_one(network, names, x, labels, loss)
    torch.testing.assert_close(taken.gradient, gradient, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(taken.squares, squares, rtol=1e-4, atol=1e-8)
    torch.testing.assert_close(taken.logits, network(x).detach(), rtol=1e-5, atol=1e-6)
    return taken


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize(
    "names",
    [OWNERS, ["head"], ["table", "words"], ["places"], ["attention"], ["attention", "attention.out_proj"], ["turn"],
     ["unused"], ["norm", "head"]],
    ids="+".join,
)  # fmt: skip
def test_every_choice_of_layers_has_its_gradient_and_no_more(device, names, batch_first):
    network, x, labels = block(device, batch_first=batch_first)
    agree(network, names, x, labels)


@pytest.mark.parametrize(
    "loss", [Loss("cross_entropy", 0.1), Loss("binary_cross_entropy"), Loss("squared_error")], ids=str
)
def test_any_loss_will_do_of_classes_and_of_targets(device, loss):
    network, x, labels = block(device)
    agree(network, OWNERS, x, labels, loss)
    agree(network, OWNERS, x, torch.rand(6, K, device=device).softmax(1), loss)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_batches_smaller_than_the_example_are_taken(device, n):
    network, x, labels = block(device, n=n)
    agree(network, OWNERS, x, labels)


def test_one_taker_serves_batches_of_any_size_and_an_example_of_one(device):
    network, x, labels = block(device)
    taker = LayerGradientTaker(network, OWNERS, x[:1])
    whole = taker.take(x, labels, Loss(), None)
    for size in (1, 4):
        parts = [
            taker.take(a, b, Loss(), None) for a, b in zip(x.split(size), labels.split(size), strict=True)
        ]  # fmt: skip
        for field in ("gradient", "squares", "logits"):
            joined = torch.cat([getattr(part, field) for part in parts])
            torch.testing.assert_close(joined, getattr(whole, field), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("kind", ["kronecker", "random", "sparse", "countsketch"])
def test_a_projected_gradient_is_the_projection_of_the_whole_one(device, kind, unit):
    network, x, labels = block(device)
    whole, squares = one_by_one(network, OWNERS, x, labels)
    taker = LayerGradientTaker(network, OWNERS, x, unit=unit)
    taken = taker.take(x, labels, Loss(), Projection(kind, 12, 3, device))
    torch.testing.assert_close(taken.squares, squares, rtol=1e-4, atol=1e-8)
    projection, expected, at = Projection(kind, 12, 3, device), torch.zeros(len(x), 12, device=device), 0
    for name, parameter in network.named_parameters():
        part = whole[:, at : at + parameter.numel()].contiguous()
        at += parameter.numel()
        # The three projections packed in one parameter of attention have blocks of their own.
        rows = 8 if "in_proj" in name else len(parameter)
        pieces = part.split(rows * parameter[0].numel(), 1)
        for first, piece in zip(range(0, len(parameter), rows), pieces, strict=True):
            of = f"{name}[{first}:]" if "in_proj" in name else name
            if unit:
                length = piece.norm(dim=1, keepdim=True)
                piece = torch.where(length > 0, piece / length, 0) if parameter.dim() > 1 else torch.zeros_like(piece)
            if kind == "kronecker" and parameter.dim() > 1:
                p_out, p_in = projection.factors(of, rows, parameter.shape[1])
                product = torch.tensor(np.kron(p_out.cpu().numpy(), p_in.cpu().numpy()), device=device)
                expected += piece @ product.T
            else:
                projection.add(of, piece.contiguous(), expected)
    assert at == whole.shape[1]
    torch.testing.assert_close(taken.gradient, expected, rtol=1e-4, atol=1e-5)


def test_the_scale_of_the_loss_does_not_show(device):
    network, x, labels = block(device)
    taker = LayerGradientTaker(network, OWNERS, x)
    plain, scaled = (taker.take(x, labels, Loss(), None, scale) for scale in (1.0, 1024.0))
    torch.testing.assert_close(scaled.gradient, plain.gradient, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(scaled.squares, plain.squares, rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize("gap", [12.0, 20.0, 40.0])
def test_the_gradient_of_a_confident_sample_does_not_cancel(device, gap):
    network = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 2)).to(device).eval()
    with torch.no_grad():
        network[2].bias.copy_(torch.tensor([gap, 0.0]))
    x, labels = torch.zeros(3, 2, device=device), torch.tensor([0, 0, 1], device=device)
    with torch.no_grad():
        z = network.double()(x.double())
    sure = z.softmax(1)[:, 1]
    residual = torch.stack([-sure, sure], 1)
    residual[2] = torch.stack([1 - sure[2], sure[2] - 1])
    network.float()
    found = LayerGradientTaker(network, ["2"], x).take(x, labels, Loss(), None).gradient[:, -2:]
    torch.testing.assert_close(found.double(), residual, rtol=1e-4, atol=0)


class Barrier(torch.autograd.Function):
    """The identity, which must not be differentiated."""

    @staticmethod
    def forward(_ctx, x):
        return x.clone()

    @staticmethod
    def backward(_ctx, *_gradients):
        raise AssertionError("differentiated")


class Behind(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, K)

    def forward(self, x):
        return self.head(torch.tanh(self.second(Barrier.apply(torch.tanh(self.first(x))))))


def test_nothing_before_the_first_chosen_layer_is_differentiated(device):
    network = Behind().to(device).eval()
    x, labels = torch.randn(4, 4, device=device), torch.randint(K, (4,), device=device)
    for names in (["second", "head"], ["second"], ["head"]):
        taken = LayerGradientTaker(network, names, x).take(x, labels, Loss(), None)
        assert taken.squares.gt(0).all()
    with pytest.raises(AssertionError, match="differentiated"):
        LayerGradientTaker(network, ["first"], x).take(x, labels, Loss(), None)


def state_of(network):
    hooks = [(len(m._forward_hooks), len(m._forward_pre_hooks), "forward" in vars(m)) for m in network.modules()]
    parameters = [(p.requires_grad, p.grad is None) for p in network.parameters()]
    return hooks, parameters, torch.backends.mha.get_fastpath_enabled(), torch.is_grad_enabled()


@pytest.mark.parametrize("fast_path", [True, False])
def test_the_network_and_torchs_settings_are_left_as_they_were(device, fast_path):
    network, x, labels = block(device)
    network.norm.requires_grad_(False)
    state = copy.deepcopy(network.state_dict())
    usual = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(fast_path)
    try:
        before = state_of(network)
        LayerGradientTaker(network, OWNERS, x).take(x, labels, Loss(), None)
        assert state_of(network) == before
        with pytest.raises(RuntimeError):
            LayerGradientTaker(network, OWNERS, x).take(x.float(), labels, Loss(), None)
        assert state_of(network) == before
    finally:
        torch.backends.mha.set_fastpath_enabled(usual)
    assert all(torch.equal(value, state[key]) for key, value in network.state_dict().items())


def test_gradients_are_taken_of_frozen_layers_and_where_gradients_are_off(device):
    network, x, labels = block(device)
    expected, _ = one_by_one(network, OWNERS, x, labels)
    network.requires_grad_(False)
    with torch.no_grad():
        taken = LayerGradientTaker(network, OWNERS, x).take(x, labels, Loss(), None)
    torch.testing.assert_close(taken.gradient, expected, rtol=1e-4, atol=1e-6)
    assert not any(part.requires_grad for part in taken)


class Broadcast(nn.Module):
    """Positions embedded once for the whole batch, and normalised before they are added."""

    def __init__(self, leading, normalised):
        super().__init__()
        self.leading = leading
        self.table, self.places = nn.Embedding(7, 6), nn.Embedding(5, 6)
        self.norm = nn.LayerNorm(6) if normalised else nn.Identity()
        self.head = nn.Linear(6, K)

    def forward(self, x):
        places = torch.arange(5, device=x.device)
        places = self.norm(self.places(places[None] if self.leading else places))
        return self.head(torch.tanh(self.table(x) + places).mean(1))


@pytest.mark.parametrize("n", [1, 2, 6])
@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("leading", [False, True])
def test_what_is_made_once_for_all_samples_has_a_gradient_of_each(device, leading, normalised, n):
    torch.manual_seed(0)
    network = Broadcast(leading, normalised).to(device).eval()
    x, labels = torch.randint(7, (n, 5)).to(device), torch.randint(K, (n,)).to(device)
    names = ["table", "places", "norm", "head"] if normalised else ["table", "places", "head"]
    agree(network, names, x, labels)


LAYERS = {
    "linear on vectors": (nn.Linear(12, 5), (12,)),
    "linear without bias": (nn.Linear(12, 5, bias=False), (12,)),
    "linear on positions": (nn.Linear(4, 5), (3, 4)),
    "linear on a grid": (nn.Linear(4, 5), (2, 3, 4)),
    "conv1d": (nn.Conv1d(2, 4, 3, stride=2, padding=1, dilation=2), (2, 9)),
    "conv1d, same": (nn.Conv1d(2, 4, 4, padding="same", dilation=2), (2, 9)),
    "conv1d, circular, in groups": (nn.Conv1d(4, 6, 3, padding=2, padding_mode="circular", groups=2), (4, 9)),
    "conv2d": (nn.Conv2d(2, 4, (3, 2), stride=(2, 1), padding=(1, 0)), (2, 6, 5)),
    "conv2d, same": (nn.Conv2d(2, 4, (2, 3), padding="same"), (2, 6, 5)),
    "conv2d, valid, dilated": (nn.Conv2d(2, 4, 2, padding="valid", dilation=2), (2, 6, 5)),
    "conv2d in groups with stride": (nn.Conv2d(4, 8, 3, stride=2, groups=4, bias=False), (4, 7, 7)),
    "conv2d, reflected": (nn.Conv2d(2, 4, 3, padding=(1, 2), padding_mode="reflect"), (2, 6, 5)),
    "layer norm": (nn.LayerNorm(5), (4, 5)),
    "layer norm of two axes": (nn.LayerNorm([4, 5]), (3, 4, 5)),
    "layer norm without bias": (nn.LayerNorm(5, bias=False), (5,)),
    "rms norm": (nn.RMSNorm(5), (4, 5)),
    "rms norm of two axes": (nn.RMSNorm([4, 5], eps=1e-3), (3, 4, 5)),
    "group norm": (nn.GroupNorm(2, 6), (6, 3, 4)),
    "group norm of vectors": (nn.GroupNorm(3, 6), (6,)),
    "batch norm of vectors": (nn.BatchNorm1d(6), (6,)),
    "batch norm of sequences": (nn.BatchNorm1d(6), (6, 4)),
    "batch norm of images": (nn.BatchNorm2d(6), (6, 3, 4)),
    "batch norm of volumes": (nn.BatchNorm3d(3), (3, 2, 2, 2)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_every_type_of_layer_has_its_rule(device, name):
    torch.manual_seed(0)
    layer, shape = copy.deepcopy(LAYERS[name][0]), LAYERS[name][1]
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    width = layer(torch.randn(2, *shape)).flatten(1).shape[1]
    network = nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(width, K))
    network.train()
    for _ in range(3):
        network(torch.randn(8, *shape) * 2 + 1)
    network = network.eval().to(device)
    x, labels = torch.randn(5, *shape, device=device), torch.randint(K, (5,)).to(device)
    agree(network, ["0", "3"], x, labels)


@pytest.mark.parametrize("options", [{}, {"padding_idx": 0}, {"padding_idx": -1}])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_a_table_has_its_rule_whatever_is_padding(device, options, shape):
    torch.manual_seed(0)
    table = nn.Embedding(6, 4, **options)
    nn.init.normal_(table.weight)
    network = nn.Sequential(table, nn.Tanh(), nn.Flatten(), nn.Linear(4 * int(np.prod(shape)), K)).to(device).eval()
    x = torch.randint(6, (20, *shape)).to(device)
    assert {0, 5} <= set(x.flatten().tolist())
    agree(network, ["0", "3"], x, torch.randint(K, (20,)).to(device))


class Frames(nn.Module):
    """Frames of a sample folded into the batch: rows i·t … (i+1)·t − 1 are sample i's."""

    def __init__(self, layer, width):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, K)

    def forward(self, x):
        h = self.layer(x.flatten(0, 1))
        return self.head(torch.tanh(h).view(len(x), x.shape[1], -1).mean(1))


@pytest.mark.parametrize("layer", [nn.Linear(4, 4), nn.LayerNorm(4), nn.BatchNorm1d(4), nn.GroupNorm(2, 4)], ids=str)
def test_rows_of_a_sample_may_be_folded_into_the_batch(device, layer):
    torch.manual_seed(0)
    network = Frames(copy.deepcopy(layer), 4).to(device).eval()
    agree(network, ["layer", "head"], torch.randn(5, 3, 4, device=device), torch.randint(K, (5,)).to(device))


def test_a_convolution_of_folded_frames_is_refused_by_its_name(device):
    network = Frames(nn.Conv1d(1, 2, 3), 4).to(device).eval()
    x, labels = torch.randn(5, 3, 1, 4, device=device), torch.zeros(5, dtype=torch.int64, device=device)
    with pytest.raises(UnfitLayer, match=r"^layer: .*3 rows each"):
        LayerGradientTaker(network, ["layer", "head"], x).take(x, labels, Loss(), None)


class Varying(nn.Module):
    """Its layer is called as often as there are samples."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, K)

    def forward(self, x):
        return torch.stack([self.layer(row) for row in x])


class Widening(nn.Module):
    """Its layer's output grows with the square of the batch."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, K)

    def forward(self, x):
        return self.layer(x.repeat(len(x), 1))[: len(x)]


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (
            nn.Sequential(nn.Linear(4, 5), nn.BatchNorm1d(5), nn.Linear(5, K)),
            "1: a BatchNorm1d that is in training mode",
        ),
        (
            nn.Sequential(nn.BatchNorm1d(4, track_running_stats=False), nn.Linear(4, K)).eval(),
            "0: .*no running statist",
        ),
        (nn.Sequential(nn.Bilinear(4, 4, 3)), "0: no rule for a Bilinear"),
        (nn.Sequential(nn.PReLU(), nn.Linear(4, K)), "0: no rule for a PReLU"),
        (Varying(), "layer: it is called more often for larger batches"),
        (Widening(), r"layer: its output for two samples is \(4, 3\), for three \(9, 3\)"),
        (nn.Sequential(nn.MultiheadAttention(4, 2, add_bias_kv=True), nn.Linear(4, K)), "0: attention with bias_k"),
        (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, K))), "0: .*computed from other parameters"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_an_unfit_layer_is_refused_by_its_name_before_anything_is_taken(network, reason):
    names = [name for name, module in network.named_modules() if list(module.parameters(recurse=False))]
    with pytest.raises(UnfitLayer, match=f"^{reason}"):
        LayerGradientTaker(network, names, torch.randn(2, 4))


class Overwriting(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner, self.head = inner, nn.Linear(4, K)

    def forward(self, x):
        h = x + 1
        z = self.inner(h)
        h.mul_(2)
        return self.head(z + h)


@pytest.mark.parametrize("inner", [nn.Linear(4, 4), nn.LayerNorm(4)], ids=str)
def test_an_input_changed_in_place_after_its_use_is_refused_by_the_layers_name(device, inner):
    network = Overwriting(copy.deepcopy(inner)).to(device).eval()
    x, labels = torch.randn(3, 4, device=device), torch.zeros(3, dtype=torch.int64, device=device)
    with pytest.raises(UnfitLayer, match=r"^inner: its input is changed in place"):
        LayerGradientTaker(network, ["inner", "head"], x).take(x, labels, Loss(), None)


def test_an_output_changed_in_place_is_served(device):
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(4, 6), nn.ReLU(inplace=True), nn.LayerNorm(6), nn.ReLU(inplace=True), nn.Linear(6, K)
    )
    x, labels = torch.randn(5, 4, device=device), torch.randint(K, (5,)).to(device)
    agree(network.to(device).eval(), ["0", "2", "4"], x, labels)
