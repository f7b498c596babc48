"""``nn.MultiheadAttention`` taken apart, so that its three input projections can be watched one by one.

The module applies its packed weight inside one functional call, where no hook reaches. This is the same computation
from its own parameters, with every projection handed to the caller.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

# (which of q, k, v; its input) → its projection
Project = Callable[[str, torch.Tensor], torch.Tensor]


def input_weights(module: nn.MultiheadAttention) -> dict[str, tuple[nn.Parameter, int, nn.Parameter | None]]:
    """For q, k and v: the parameter, the first of its rows that belong to it, and the bias (packed alike).

    Raises:
        NotImplementedError: the module appends learnt or zero rows to its keys.
    """
    if module.bias_k is not None or module.add_zero_attn:
        raise NotImplementedError("attention with bias_k, bias_v or add_zero_attn")
    bias: nn.Parameter | None = module.in_proj_bias
    if module.in_proj_weight is not None:
        return {which: (module.in_proj_weight, index * module.embed_dim, bias) for index, which in enumerate("qkv")}
    weights = {"q": module.q_proj_weight, "k": module.k_proj_weight, "v": module.v_proj_weight}
    return {which: (weight, 0, bias) for which, weight in weights.items()}


def attend(
    module: nn.MultiheadAttention,
    project: Project,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    key_padding_mask: torch.Tensor | None = None,
    need_weights: bool = True,
    attn_mask: torch.Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """``module.forward`` in evaluation mode, for batched inputs; softmax(q kᵀ/√h + mask) v, then ``out_proj``."""
    q, k, v = project("q", query), project("k", key), project("v", value)
    if not module.batch_first:
        q, k, v = (side.transpose(0, 1) for side in (q, k, v))
    n, target, source = len(q), q.shape[1], k.shape[1]
    q, k, v = (side.view(n, -1, module.num_heads, module.head_dim).transpose(1, 2) for side in (q, k, v))
    mask = _mask(module, n, target, source, key_padding_mask, attn_mask, is_causal and attn_mask is None, q)
    weights = None
    if need_weights:
        weights = q @ k.transpose(2, 3) / math.sqrt(module.head_dim)
        weights = (weights if mask is None else weights + mask).softmax(-1)
        heads = weights @ v
        weights = weights.mean(1) if average_attn_weights else weights
    else:
        heads = functional.scaled_dot_product_attention(q, k, v, mask)
    heads = heads.transpose(1, 2).flatten(2)
    out = module.out_proj(heads)
    return (out if module.batch_first else out.transpose(0, 1)), weights


def _mask(
    module: nn.MultiheadAttention,
    n: int,
    target: int,
    source: int,
    padding: torch.Tensor | None,
    attention: torch.Tensor | None,
    causal: bool,
    like: torch.Tensor,
) -> torch.Tensor | None:
    """What is added to the attention's logits, broadcastable to n × heads × target × source."""
    total = None
    if causal:
        attention = torch.ones(target, source, dtype=torch.bool, device=like.device).triu(1)
    if attention is not None:
        total = _additive(attention, like.dtype)
        total = total.view(n, module.num_heads, target, source) if total.dim() == 3 else total
    if padding is not None:
        rows = _additive(padding, like.dtype).view(n, 1, 1, source)
        total = rows if total is None else total + rows
    return total


def _additive(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """A mask as what is added to logits: −∞ where one of booleans is true."""
    if mask.dtype == torch.bool:
        return torch.zeros_like(mask, dtype=dtype).masked_fill_(mask, -math.inf)
    return mask.to(dtype)
