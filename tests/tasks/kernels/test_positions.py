"""Positions that no loss sees are left out, and nothing else changes."""

import pytest
import torch
from torch import nn

from tasks.kernels import factors, grams, positions
from tasks.kernels.factors import Dense
from tasks.kernels.grams import Gram
from tasks.kernels.layers import LayerGradientTaker
from tasks.kernels.losses import Loss
from tasks.kernels.projections import Projection

T = 8


def delta_of(counts, o=12, first=0):
    """δ of one sample for each count, which is zero but at so many positions from ``first`` on."""
    torch.manual_seed(0)
    delta = torch.randn(len(counts), T, o, dtype=torch.float64)
    for row, count in zip(delta, counts, strict=True):
        row[:first], row[first + count :] = 0, 0
    return delta


@pytest.mark.parametrize("counts", [(1, 1, 1), (3, 0, 5), (0, 0, 0), (8, 1, 1), (8, 8, 8)], ids=str)
@pytest.mark.parametrize("i", [5, 300], ids=["built", "ghost"])
def test_what_is_left_is_the_same_gradient(counts, i):
    delta, inputs = delta_of(counts), torch.randn(len(counts), T, i, dtype=torch.float64)
    whole, left = Dense(delta, inputs), Dense(delta, inputs, Gram(3)).seen()
    assert left.delta.shape[1] == (max(counts) or 1)
    p_out, p_in = torch.randn(2, 12, dtype=torch.float64), torch.randn(3, i, dtype=torch.float64)
    sketches = torch.zeros(2, len(counts), 2, 3, dtype=torch.float64)
    for found, out in zip((whole, left), sketches, strict=True):
        found.sketch(p_out, p_in, out)
    torch.testing.assert_close(sketches[1], sketches[0])
    torch.testing.assert_close(left.gradient(), whole.gradient())
    torch.testing.assert_close(left.squares(), whole.squares())


def test_layers_that_leave_out_the_same_positions_share_what_is_left(monkeypatch):
    inputs, gram = torch.randn(3, T, 300, dtype=torch.float64), Gram(3)
    taken, made, at, doubled = [], [], factors.at, grams.doubled
    for module in (factors, grams):
        monkeypatch.setattr(module, "at", lambda order, x: taken.append(x.shape[2]) or at(order, x))
    monkeypatch.setattr(grams, "doubled", lambda x: made.append(x.shape[1]) or doubled(x))
    for counts in ((4, 2, 1), (4, 2, 1), (1, 1, 2)):
        delta = delta_of(counts, o=200)
        squares = Dense(delta, inputs, gram).seen().squares()
        torch.testing.assert_close(squares, Dense(delta, inputs).gradient().square().sum((1, 2)))
    assert taken == [200, 300, 200, 200, 300]
    assert made == [4, 2]


def test_what_is_no_number_is_seen_wherever_it_stands():
    delta = delta_of((1, 1))
    delta[1, 6, 11] = torch.nan
    rows = positions.seen(delta)
    assert rows is not None
    assert rows.nonzero().tolist() == [[0, 0], [1, 0], [1, 6]]


def test_columns_that_are_zero_do_not_make_a_position_unseen():
    delta = delta_of((8, 8, 8))
    delta[:, :, :10] = 0
    assert positions.seen(delta) is None


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("counts", [(2, 1, 0), (8, 8, 8)], ids=str)
def test_a_linear_layer_differentiates_as_autograd_does(bias, counts):
    layer = nn.Linear(5, 12, bias=bias).double().requires_grad_(False)
    x = torch.randn(3, T, 5, dtype=torch.float64, requires_grad=True)
    outputs = positions.linear(layer, x), layer(x)
    torch.testing.assert_close(*outputs)
    grads = [torch.autograd.grad(y, x, delta_of(counts, first=1 if counts[0] < 8 else 0))[0] for y in outputs]
    torch.testing.assert_close(*grads)


@pytest.mark.parametrize("bias", [True, False])
def test_what_follows_may_change_a_linear_layers_output_in_place(bias):
    torch.manual_seed(0)
    layers = [nn.Linear(5, 6, bias=bias), nn.ReLU(inplace=True), nn.Linear(6, 6, bias=bias), nn.ReLU(inplace=True)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(6 * T, 3)).eval()
    x, labels = torch.randn(4, T, 5), torch.randint(3, (4,))
    taken = LayerGradientTaker(network, ["0", "2", "5"], x).take(x, labels, Loss(), None)
    for index, gradient in enumerate(taken.gradient):
        loss = Loss().losses(network(x[index : index + 1]), labels[index : index + 1]).sum()
        expected = torch.autograd.grad(loss, list(network.parameters()))
        torch.testing.assert_close(gradient, torch.cat([g.flatten() for g in expected]), rtol=1e-4, atol=1e-6)


class Reader(nn.Module):
    """Tokens → attention to those before → a Linear layer at each → the last token that is none of padding."""

    def __init__(self):
        super().__init__()
        self.table = nn.Embedding(9, 16)
        self.q, self.k, self.v, self.up = (nn.Linear(16, 16, bias=False) for _ in range(4))
        self.down, self.head = nn.Linear(16, 16), nn.Linear(16, 3)

    def forward(self, ids):
        h = self.table(ids)
        h = h + nn.functional.scaled_dot_product_attention(self.q(h), self.k(h), self.v(h), is_causal=True)
        h = self.head(h + self.down(torch.tanh(self.up(h))))
        return h[torch.arange(len(ids)), (ids != 0).sum(1) - 1]


def test_padded_texts_have_the_gradients_that_each_has_alone_and_unpadded(monkeypatch):
    torch.manual_seed(0)
    network, ids, labels = Reader().eval(), torch.randint(1, 9, (4, 24)), torch.randint(3, (4,))
    lengths = (3, 9, 12, 5)
    for row, length in zip(ids, lengths, strict=True):
        row[length:] = 0
    names, projection = ["q", "k", "v", "up", "down", "head"], Projection("kronecker", 16, 0, torch.device("cpu"))
    shapes, sketch = set(), Dense.sketch
    monkeypatch.setattr(Dense, "sketch", lambda self, *rest: (shapes.add(self.delta.shape[1:]), sketch(self, *rest)))
    taker = LayerGradientTaker(network, names, ids[:2])
    taken = taker.take(ids, labels, Loss(), projection)
    assert shapes == {(12, 16), (1, 16), (1, 3)}
    for index, length in enumerate(lengths):
        alone = taker.take(ids[index : index + 1, :length], labels[index : index + 1], Loss(), projection)
        torch.testing.assert_close(taken.gradient[index : index + 1], alone.gradient, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(taken.squares[index : index + 1], alone.squares, rtol=1e-4, atol=1e-8)
    assert "forward" not in vars(network.up)
