"""What one use of a layer adds to its per-sample gradients: one rule for each type of layer.

With δ the loss's gradient at the layer's output, a its input, and x̂ the normalised input of a normalisation:

    Linear, attention's projections, Conv1d/2d, Embedding    ∂ℓ/∂W = Σ_t δ_t ⊗ a_t    ∂ℓ/∂b = Σ_t δ_t
    LayerNorm, RMSNorm, GroupNorm, BatchNorm (evaluation)    ∂ℓ/∂w = Σ_t δ_t ⊙ x̂_t    ∂ℓ/∂b = Σ_t δ_t

Matrices are left as factors (tasks/kernels/factors.py), vectors are summed at once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrize

from tasks.kernels.factors import Convolutional, Dense, Factors, Lookup
from tasks.kernels.shifts import Convolution


class UnfitLayer(ValueError):
    """A layer whose per-sample gradients cannot be had by hooks: ``name``, and ``reason``."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name}: {reason}")
        self.name, self.reason = name, reason


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d)
_NORMS = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.modules.batchnorm._BatchNorm)


def refuse_unknown(name: str, module: nn.Module) -> None:
    """Refuse a layer that has no rule here.

    Raises:
        UnfitLayer: saying why.
    """
    if parametrize.is_parametrized(module):
        raise UnfitLayer(name, f"a {type(module).__name__}, whose weight is computed from other parameters")
    if not isinstance(module, (nn.Linear, nn.Embedding, *_CONVOLUTIONS, *_NORMS)) and not _is_root_mean_square(module):
        raise UnfitLayer(name, f"no rule for a {type(module).__name__}")
    extra = {key for key, _ in module.named_parameters(recurse=False)} - {"weight", "bias"}
    if extra:
        raise UnfitLayer(name, f"a {type(module).__name__} with parameters of its own: {', '.join(sorted(extra))}")
    if isinstance(module, nn.Embedding) and (module.max_norm is not None or module.scale_grad_by_freq):
        raise UnfitLayer(name, "an Embedding with max_norm or scale_grad_by_freq depends on the other samples")


def _is_root_mean_square(module: nn.Module) -> bool:
    """An RMSNorm as language models bring their own: known by its name and its parts."""
    has_name = type(module).__name__.endswith("RMSNorm") and hasattr(module, "variance_epsilon")
    weight = getattr(module, "weight", None)
    return has_name and isinstance(weight, nn.Parameter) and weight.dim() == 1


def refuse_batch_statistics(network: nn.Module) -> None:
    """Refuse a network in which one sample's output depends on the others'.

    Raises:
        UnfitLayer: a BatchNorm that normalises by the batch (training mode, or no running statistics).
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and (module.training or module.running_mean is None):
            mode = "is in training mode" if module.training else "keeps no running statistics"
            raise UnfitLayer(name, f"a {type(module).__name__} that {mode}: samples of a batch have no gradient apart")


def contribution(
    module: nn.Module,
    inputs: torch.Tensor,
    delta: torch.Tensor,
    n: int,
    layout: tuple[int, int],
    *,
    bias: bool,
) -> tuple[Factors | torch.Tensor, torch.Tensor | None]:
    """(what one call adds to the weight's gradient, what it adds to the bias's) for n samples.

    Args:
        module: the layer.
        inputs: its input.
        delta: the loss's gradient at its output.
        n: samples.
        layout: the axis along which samples lie, and how many consecutive rows of it each sample has.
        bias: whether the second is wanted.
    """
    axis, rows = layout
    by_sample = partial(_by_sample, n, axis)
    if isinstance(module, nn.Embedding):
        table = by_sample(delta, 1)
        indices = by_sample(inputs, 0)
        if module.padding_idx is not None:
            table = table * (indices != module.padding_idx).unsqueeze(2)
        return Lookup(indices, table, module.num_embeddings), None
    inputs = inputs.float()
    if isinstance(module, nn.Linear | nn.MultiheadAttention):
        left = by_sample(delta, 1)
        return Dense(left, by_sample(inputs, 1)), left.sum(1) if bias else None
    if isinstance(module, nn.LayerNorm | nn.RMSNorm):
        shape = list(module.normalized_shape)
        if isinstance(module, nn.LayerNorm):
            normal = functional.layer_norm(inputs, shape, None, None, module.eps)
        else:
            normal = functional.rms_norm(inputs, shape, None, module.eps)
        gain = by_sample(delta * normal, len(shape)).sum(1)
        return gain, by_sample(delta, len(shape)).sum(1) if bias else None
    if _is_root_mean_square(module):
        epsilon: Any = module.variance_epsilon
        normal = functional.rms_norm(inputs, [inputs.shape[-1]], None, float(epsilon))
        return by_sample(delta * normal, 1).sum(1), None
    if axis != 0 or (rows > 1 and isinstance(module, _CONVOLUTIONS)):
        raise UnfitLayer(type(module).__name__, f"samples lie along axis {axis} of its output, {rows} rows each")
    shift = _by_channel(delta, n) if bias else None
    if isinstance(module, _CONVOLUTIONS):
        return _convolution(module, inputs, delta), shift
    if isinstance(module, nn.GroupNorm):
        normal = functional.group_norm(inputs, module.num_groups, None, None, module.eps)
    else:
        normal = functional.batch_norm(inputs, module.running_mean, module.running_var, eps=module.eps)  # type: ignore[attr-defined]
    return _by_channel(delta * normal, n), shift


def _by_sample(n: int, axis: int, values: torch.Tensor, features: int) -> torch.Tensor:
    """n × positions × the last ``features`` axes flattened."""
    return values.movedim(axis, 0).reshape(n, -1, *([values.shape[-features:].numel()] if features else []))


def _by_channel(values: torch.Tensor, n: int) -> torch.Tensor:
    """Sums over everything but the sample and the channel (axis 1)."""
    channels = values.shape[1]
    return values.reshape(n, -1, channels, values[0, 0].numel()).sum((1, 3))


def _convolution(module: nn.Conv1d | nn.Conv2d, inputs: torch.Tensor, delta: torch.Tensor) -> Convolutional:
    flat = isinstance(module, nn.Conv1d)
    padding = module.padding
    if isinstance(padding, str) or module.padding_mode != "zeros":
        mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
        inputs = functional.pad(inputs, module._reversed_padding_repeated_twice, mode=mode)
        padding = (0,) if flat else (0, 0)
    kernel, stride, dilation = module.kernel_size, module.stride, module.dilation
    if flat:
        inputs, delta = inputs.unsqueeze(2), delta.unsqueeze(2)
        kernel, stride, padding, dilation = (1, *kernel), (1, *stride), (0, *padding), (1, *dilation)
    how = Convolution(kernel, stride, padding, dilation, module.groups)  # type: ignore[arg-type]
    return Convolutional(delta, inputs, how)


def join_calls(factors: list[Factors]) -> Factors | None:
    """Several calls of one layer as one with more positions; None where they are of different kinds."""
    if len(factors) == 1:
        return factors[0]
    if all(isinstance(f, Dense) for f in factors):
        delta, inputs, _ = zip(*factors, strict=True)  # type: ignore[arg-type]
        return Dense(torch.cat(delta, 1), torch.cat(inputs, 1))
    if all(isinstance(f, Lookup) for f in factors):
        indices, delta, rows = zip(*factors, strict=True)  # type: ignore[arg-type]
        return Lookup(torch.cat(indices, 1), torch.cat(delta, 1), rows[0])
    return None
