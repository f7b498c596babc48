"""Residuals of factored gradients, from what they follow from: a shard holds outputs and targets in their place.

The residual of a sample is ∂ℓ/∂z at its outputs z (tasks/kernels/losses.py), a few operations on what a detector needs
anyway; stored beside the outputs it would be as large as they are. Of c checkpoints the shard has the outputs of all.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from tasks.gradients.shard_metadata import ShardMetadata

if TYPE_CHECKING:
    import torch

    from tasks.kernels.losses import Loss

SOURCES = ("earlier_logits", "logits", "target")
"""The columns that residuals are made of: outputs of all checkpoints but the last, of the last, and targets."""

# Values that are made at a time: a batch of a shard may hold 4,096 samples of ten thousand classes.
_AT_A_TIME = 1 << 20


def sources_of(logits: list[torch.Tensor], values: torch.Tensor, loss: Loss) -> dict[str, torch.Tensor]:
    """What a shard holds in the place of residuals, beside the last checkpoint's outputs.

    Args:
        logits: outputs of each checkpoint, n × k.
        values: what the loss compares them with: n classes, or n × k targets.
        loss: ℓ; of a binary cross entropy targets are zeros and ones, and take a byte each.
    """
    import torch

    if values.dim() == 1:
        target = values.unsqueeze(1).to(torch.int32)
    else:
        target = values.to(torch.uint8 if loss.kind == "binary_cross_entropy" else torch.float32)
    earlier = {"earlier_logits": torch.cat(logits[:-1], 1).float()} if len(logits) > 1 else {}
    return earlier | {"target": target}


def residuals_of(columns: dict[str, np.ndarray], metadata: ShardMetadata) -> np.ndarray:
    """∂ℓ/∂z of n samples, n × c·k float32, joined as tasks/kernels/checkpoints.py does it; beside them little is held.

    Args:
        columns: ``SOURCES``, as far as the shard has them.
        metadata: the shard's.
    """
    n, width = len(columns["target"]), sum(columns[name].shape[1] for name in SOURCES[:2] if name in columns)
    result, size = np.empty((n, width), np.float32), max(1, _AT_A_TIME // width)
    for at in range(0, n, size):
        some = slice(at, at + size)
        result[some] = _residuals({name: values[some] for name, values in columns.items()}, metadata)
    return result


def _residuals(columns: dict[str, np.ndarray], metadata: ShardMetadata) -> np.ndarray:
    import torch

    from tasks.kernels.losses import Loss

    kind, smoothing = metadata.loss
    loss = Loss(kind, smoothing)  # type: ignore[arg-type]
    # Copies: torch warns of arrays that cannot be written to.
    sides = [torch.from_numpy(np.array(columns[name])) for name in SOURCES[:2] if name in columns]
    target = torch.from_numpy(np.array(columns["target"]))
    labels = target[:, 0].long() if target.dtype == torch.int32 else target
    c = len(metadata.epochs)
    scale = 1 / c if metadata.joined == "sum" else 1 / math.sqrt(c)
    # Of a sigmoid in float32 the last bit depends on where in a batch a value stands; of a softmax of rows it does not.
    kept = torch.float64 if kind == "binary_cross_entropy" else torch.float32
    terms = [z.to(kept) for side in sides for z in side.split(sides[-1].shape[1], 1)]
    each = [loss.residuals(z, labels).float() for z in terms]
    return (torch.stack(each, 1) * scale).flatten(1).numpy() if c > 1 else each[0].numpy()
