"""Attention taken apart is ``nn.MultiheadAttention`` itself, with every projection in the caller's hands."""

import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from tasks.kernels.attention import attend, input_weights

N, TARGET, SOURCE, WIDTH, HEADS = 3, 5, 4, 8, 2


def projector(module):
    """q, k and v as the module itself makes them."""
    weights = input_weights(module)

    def project(which, x):
        weight, first, bias = weights[which]
        place = "qkv".index(which) * WIDTH
        return functional.linear(
            x, weight[first : first + WIDTH], None if bias is None else bias[place : place + WIDTH]
        )

    return project


def made(device, **options):
    torch.manual_seed(0)
    module = nn.MultiheadAttention(WIDTH, HEADS, dropout=0.3, **options).to(device, torch.float64).eval()
    if module.in_proj_bias is not None:
        # The module starts with zeros, which would hide a bias taken from the wrong place.
        nn.init.normal_(module.in_proj_bias)
    return module


def inputs(device, batch_first, source=SOURCE, kdim=WIDTH, vdim=WIDTH):
    generator = torch.Generator().manual_seed(1)
    shapes = [(N, TARGET, WIDTH), (N, source, kdim), (N, source, vdim)]
    sides = [torch.randn(shape, generator=generator, dtype=torch.float64).to(device) for shape in shapes]
    return sides if batch_first else [side.transpose(0, 1) for side in sides]


def agree(module, sides, **options):
    with torch.no_grad():
        expected, expected_weights = module(*sides, **options)
        found, weights = attend(module, projector(module), *sides, **options)
    torch.testing.assert_close(found, expected)
    assert (weights is None) == (expected_weights is None)
    if weights is not None:
        torch.testing.assert_close(weights, expected_weights)
    return found


def masks(device):
    generator = torch.Generator().manual_seed(2)
    hidden = torch.rand(N * HEADS, TARGET, SOURCE, generator=generator) < 0.4
    hidden[..., 0] = False
    added = torch.randn(N * HEADS, TARGET, SOURCE, generator=generator, dtype=torch.float64)
    padding = torch.zeros(N, SOURCE, dtype=torch.bool)
    padding[1, 2:] = padding[2, 3:] = True
    added_padding = torch.zeros(N, SOURCE, dtype=torch.float64).masked_fill(padding, -math.inf)
    added_padding[0] = torch.tensor([0.0, 1.0, -2.0, 0.5])
    found = {
        "none": {},
        "bool 2-D": {"attn_mask": hidden[0]},
        "bool 3-D": {"attn_mask": hidden},
        "float 2-D": {"attn_mask": added[0]},
        "float 3-D": {"attn_mask": added},
        "padding": {"key_padding_mask": padding},
        "float padding": {"key_padding_mask": added_padding},
        "bool 2-D and padding": {"attn_mask": hidden[0], "key_padding_mask": padding},
        "bool 3-D and padding": {"attn_mask": hidden, "key_padding_mask": padding},
        "float 3-D and float padding": {"attn_mask": added, "key_padding_mask": added_padding},
    }
    return {name: {key: mask.to(device) for key, mask in which.items()} for name, which in found.items()}


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("how", [{}, {"need_weights": False}, {"average_attn_weights": False}], ids=str)
@pytest.mark.parametrize("mask", masks("cpu"))
def test_every_mask_gives_the_modules_own_output_and_weights(device, mask, how, batch_first):
    module = made(device, batch_first=batch_first)
    sides = inputs(device, batch_first)
    options = masks(device)[mask]
    found = agree(module, sides, **options, **how)
    if options:
        assert not torch.allclose(found, attend(module, projector(module), *sides)[0])


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("kdim", "vdim"), [(3, 7), (None, 7), (3, None), (None, None)])
def test_keys_and_values_may_have_widths_of_their_own(device, batch_first, bias, kdim, vdim):
    module = made(device, batch_first=batch_first, bias=bias, kdim=kdim, vdim=vdim)
    agree(module, inputs(device, batch_first, kdim=kdim or WIDTH, vdim=vdim or WIDTH))


@pytest.mark.parametrize("need_weights", [True, False])
@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_a_causal_mask_is_obeyed(device, batch_first, need_weights, padded):
    module = made(device, batch_first=batch_first)
    query, key, value = inputs(device, batch_first, source=TARGET)
    options = {"attn_mask": torch.ones(TARGET, TARGET, dtype=torch.bool, device=device).triu(1)}
    if padded:
        options["key_padding_mask"] = torch.zeros(N, TARGET, dtype=torch.bool, device=device)
        options["key_padding_mask"][1, 3:] = True
    found = agree(module, [query, key, value], **options, is_causal=True, need_weights=need_weights)
    # The mask is only a hint's long form: the hint alone means the same.
    del options["attn_mask"]
    alone, _ = attend(
        module, projector(module), query, key, value, **options, is_causal=True, need_weights=need_weights
    )
    torch.testing.assert_close(alone, found)
    later = key.clone()
    later[(slice(None), -1) if batch_first else -1] += 1
    changed, _ = attend(module, projector(module), query, later, value, is_causal=True)
    before, _ = attend(module, projector(module), query, key, value, is_causal=True)
    if batch_first:
        changed, before = changed.transpose(0, 1), before.transpose(0, 1)
    assert torch.equal(changed[:-1], before[:-1])
    assert not torch.allclose(changed[-1], before[-1])


def test_the_packed_weights_are_told_apart(device):
    module = made(device)
    assert {which: first for which, (_, first, _) in input_weights(module).items()} == {"q": 0, "k": 8, "v": 16}
    assert all(weight is module.in_proj_weight for weight, _, _ in input_weights(module).values())
    apart = input_weights(made(device, kdim=3))
    assert [tuple(weight.shape) for weight, _, _ in apart.values()] == [(8, 8), (8, 3), (8, 8)]
    assert [first for _, first, _ in apart.values()] == [0, 0, 0]
    assert all(bias is None for _, _, bias in input_weights(made(device, bias=False)).values())


def test_each_projection_is_asked_for_once_with_its_own_input(device):
    module, sides, asked = made(device), inputs(device, False), []
    project = projector(module)
    attend(module, lambda which, x: asked.append((which, x)) or project(which, x), *sides)
    assert [which for which, _ in asked] == ["q", "k", "v"]
    assert all(x is side for (_, x), side in zip(asked, sides, strict=True))


@pytest.mark.parametrize("option", ["add_bias_kv", "add_zero_attn"])
def test_rows_appended_to_the_keys_are_refused(option):
    with pytest.raises(NotImplementedError, match="bias_k, bias_v or add_zero_attn"):
        input_weights(nn.MultiheadAttention(WIDTH, HEADS, **{option: True}))
