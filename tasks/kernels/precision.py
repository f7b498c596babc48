"""Arithmetic in which a network is run while gradients are taken."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import torch

Precision = Literal["fp32", "tf32", "bf16", "fp16"]

# Losses are multiplied by this while half-precision gradients exist: the smallest half is 6e-8.
_FP16_SCALE = 1024.0


def loss_scale(precision: Precision) -> float:
    """What losses are multiplied by before, and gradients divided by after, the backward pass."""
    return _FP16_SCALE if precision == "fp16" else 1.0


@contextmanager
def running_in(precision: Precision, device: torch.device) -> Iterator[None]:
    """fp32; tf32 matrix products and convolutions (CUDA alone has them); or bf16 or fp16 by autocast."""
    with ExitStack() as undo:
        if device.type == "cuda":
            backends: list[Any] = [torch.backends.cuda.matmul, torch.backends.cudnn]
            for backend in backends:
                undo.callback(setattr, backend, "allow_tf32", backend.allow_tf32)
                backend.allow_tf32 = precision == "tf32"
        if precision in ("bf16", "fp16"):
            dtype = torch.bfloat16 if precision == "bf16" else torch.float16
            undo.enter_context(torch.autocast(device.type, dtype))
        yield
