"""Factored gradients are the sums of outer products they stand for: sketched, built or measured."""

import pytest
import torch
from torch.nn import functional

from tasks.kernels import factors, grams
from tasks.kernels.factors import Convolutional, Dense, Lookup, of_unit_length
from tasks.kernels.grams import Gram
from tasks.kernels.shifts import Convolution

EXACT = {"rtol": 1e-10, "atol": 1e-10}


@pytest.fixture(params=[1 << 21, 1], ids=["one slice", "a slice for each sample"])
def at_a_time(request, monkeypatch):
    monkeypatch.setattr(factors, "_AT_A_TIME", request.param)


def normal(device, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape))).to(device)


def agrees(found, expected):
    """All four of ``found``, factors of n samples, against the matrices ``expected``."""
    torch.testing.assert_close(found.gradient(), expected, **EXACT)
    torch.testing.assert_close(found.squares(), torch.stack([g.square().sum() for g in expected]), **EXACT)
    p_out, p_in = normal(expected.device, 3, expected.shape[1]), normal(expected.device, 4, expected.shape[2])
    start = normal(expected.device, len(expected), 3, 4)
    out = start.clone()
    found.sketch(p_out, p_in, out)
    torch.testing.assert_close(out, start + torch.stack([p_out @ g @ p_in.T for g in expected]), **EXACT)
    unit = torch.stack([g / g.norm() for g in expected])
    torch.testing.assert_close(of_unit_length(found, found.squares()).gradient(), unit, **EXACT)


# One position; few (ghost norm); many (built).
@pytest.mark.parametrize(
    ("n", "t", "o", "i"), [(1, 1, 2, 3), (6, 1, 5, 4), (6, 2, 7, 6), (6, 9, 3, 4), (1, 9, 3, 4), (2, 70, 200, 300)]
)
def test_a_linear_map_adds_an_outer_product_for_each_position(device, at_a_time, n, t, o, i):
    delta, inputs = normal(device, n, t, o), normal(device, n, t, i)
    expected = torch.stack(
        [sum(torch.outer(d, a) for d, a in zip(ds, xs, strict=True)) for ds, xs in zip(delta, inputs, strict=True)]
    )
    agrees(Dense(delta, inputs), expected)


@pytest.mark.parametrize(("n", "t", "rows", "h"), [(1, 1, 2, 3), (5, 1, 4, 3), (5, 8, 3, 4), (4, 6, 40, 2)])
def test_a_table_adds_each_positions_gradient_to_the_row_it_looked_up(device, n, t, rows, h):
    indices = torch.randint(rows, (n, t), generator=torch.Generator().manual_seed(t)).to(device)
    delta = normal(device, n, t, h)
    expected = torch.zeros(n, rows, h, dtype=torch.float64, device=device)
    for sample in range(n):
        for position in range(t):
            expected[sample, indices[sample, position]] += delta[sample, position]
    agrees(Lookup(indices, delta, rows), expected)


GEOMETRIES = {
    "plain": (Convolution((3, 3), (1, 1), (0, 0), (1, 1), 1), 4, 6),
    "padded, with stride": (Convolution((3, 2), (2, 1), (1, 0), (1, 1), 1), 4, 6),
    "dilated": (Convolution((2, 3), (1, 2), (2, 2), (2, 1), 1), 3, 2),
    "a stride that leaves a rest": (Convolution((2, 2), (3, 3), (0, 0), (1, 1), 1), 2, 3),
    "pointwise": (Convolution((1, 1), (1, 1), (0, 0), (1, 1), 1), 5, 4),
    "pointwise with stride": (Convolution((1, 1), (2, 3), (0, 0), (1, 1), 1), 5, 4),
    "pointwise and padded": (Convolution((1, 1), (1, 1), (1, 1), (1, 1), 1), 2, 3),
    "in groups": (Convolution((3, 3), (2, 2), (1, 1), (1, 1), 2), 4, 6),
    "pointwise in groups": (Convolution((1, 1), (1, 1), (0, 0), (1, 1), 3), 6, 9),
    "by channel": (Convolution((3, 3), (1, 1), (1, 1), (1, 1), 4), 4, 8),
    "flat": (Convolution((1, 3), (1, 2), (0, 1), (1, 1), 1), 3, 5),
    "few positions of many channels": (Convolution((5, 5), (4, 4), (0, 0), (1, 1), 1), 6, 8),
}


@pytest.mark.parametrize("n", [1, 5])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_convolution_has_the_gradient_that_autograd_gives_each_sample_alone(device, at_a_time, name, n):
    how, c, o = GEOMETRIES[name]
    inputs = normal(device, n, c, 8, 9)
    weight = normal(device, o, c // how.groups, *how.kernel).requires_grad_()
    outputs = [functional.conv2d(x[None], weight, None, *how[1:]) for x in inputs]
    delta = normal(device, n, *outputs[0].shape[1:])
    expected = [
        torch.autograd.grad(y, weight, d[None])[0].flatten(1) for y, d in zip(outputs, delta, strict=True)
    ]  # fmt: skip
    agrees(Convolutional(delta, inputs, how), torch.stack(expected))


def test_layers_of_one_input_share_its_gram_matrix(device, monkeypatch):
    inputs, deltas = normal(device, 3, 70, 200), [normal(device, 3, 70, o) for o in (150, 160, 170)]
    expected = [Dense(delta, inputs).squares() for delta in deltas]
    made = []
    doubled = grams.doubled
    monkeypatch.setattr(grams, "doubled", lambda x: made.append(x.shape) or doubled(x))
    gram = Gram(len(deltas))
    for _ in range(2):
        for delta, squares in zip(deltas, expected, strict=True):
            torch.testing.assert_close(Dense(delta, inputs, gram).squares(), squares, **EXACT)
        gram.forget()
    assert made == [inputs.shape] * 2


def test_both_ways_to_the_norm_are_taken_and_agree(device, monkeypatch):
    # The same factors with more positions (zeros) are measured from the built gradient.
    delta, inputs = normal(device, 4, 2, 7), normal(device, 4, 2, 6)
    padded = [torch.cat([side, side.new_zeros(4, 20, side.shape[2])], 1) for side in (delta, inputs)]
    built = []
    slices = factors._slices
    monkeypatch.setattr(factors, "_slices", lambda *sizes: built.append(sizes) or slices(*sizes))
    few = Dense(delta, inputs).squares()
    assert not built
    many = Dense(*padded).squares()
    assert built
    torch.testing.assert_close(few, many, **EXACT)


# Beside each shape the way that took less CPU time, by tests/benchmarks/gradients.py --only routes.
@pytest.mark.parametrize(
    ("t", "o", "i", "ghost"),
    [
        (32, 8, 384, False),
        (96, 8, 4096, False),
        (128, 3072, 768, True),
        (512, 3072, 768, True),
        (512, 768, 768, True),
        (64, 64, 576, True),
        (192, 256, 256, True),
        (1024, 3072, 768, False),
    ],
)
def test_the_norm_is_taken_the_way_that_was_measured_to_be_cheaper(t, o, i, ghost):
    assert grams.ghost_is_cheaper(t, o, i, grams.strip_rows(t, torch.device("cpu"))) == ghost
