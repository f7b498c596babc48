"""Gradient kinds: each takes per-sample gradients of a trained network. To add one, add a file here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pydantic import Field

from tasks.core.plugins import Choice, Component, Registry

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.kernels.losses import Loss


class SampleGradients(NamedTuple):
    """Gradients of n samples by one network, as they are stored."""

    columns: dict[str, torch.Tensor]
    """n × width each: ``gradient``; or the factors ``residual`` and ``features`` of residual ⊗ features."""
    logits: torch.Tensor
    """The network's outputs, n × k."""
    squares: torch.Tensor | None
    """Exact ‖g‖² by layer, n × layers; None where they follow from the columns."""


# n inputs and their labels, on the network's device → their gradients
Taker = Callable[["torch.Tensor", "torch.Tensor"], SampleGradients]


class Gradient(Component):
    """Base of all gradient kinds."""

    kind: Any = None
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = Field(
        default="fp32", description="Arithmetic of the network; bf16 and fp16 by autocast. Sums are always float32."
    )
    store: Literal["float32", "float16"] = Field(
        default="float32", description="How gradients lie on disk; float16 takes half the space."
    )
    batch_size: int | None = Field(
        default=None,
        ge=1,
        description="Samples at a time; default: what fits an eighth of memory-gib, or a quarter of a CUDA device, "
        "halved when memory runs out.",
    )
    checkpoints: Literal["average", "stack"] = Field(
        default="average",
        description="Several checkpoints of a sample: their mean gradient, or side by side (scaled by 1/√c, so that "
        "inner products are TracIn's mean over checkpoints).",
    )

    @property
    def unit(self) -> bool:
        """Whether what is stored has lengths of its own making, so that norms must be told from ``squares``."""
        return False

    def values(self, network: nn.Module) -> int:
        """Values that making one sample's gradient takes in memory, beside the network's own outputs."""
        return 0

    def layers(self, network: nn.Module) -> list[str]:
        """Names of the layers whose norms are told apart; none by default."""
        return []

    def check(self, network: nn.Module, example: torch.Tensor) -> None:
        """Refuse a network this kind cannot serve, before anything is trained.

        Args:
            network: as it will be trained.
            example: inputs of two samples or more; only their shape and type matter.

        Raises:
            BadModel: naming what the network lacks.
        """
        raise TypeError(f"{type(self).__name__} must define check()")

    def taker(self, network: nn.Module, example: torch.Tensor, loss: Loss, samples: int) -> Taker:
        """Prepare to take gradients of one network.

        Args:
            network: in evaluation mode, on its device.
            example: inputs of one sample or more, on the same device.
            loss: what it was trained with.
            samples: how many samples the whole dataset has (some dimensions follow from it).
        """
        raise TypeError(f"{type(self).__name__} must define taker()")


GRADIENTS: Registry[Gradient] = Registry(__name__, Gradient)


class GradientChoice(Choice[Gradient], registry=GRADIENTS):
    """Which gradients are taken."""

    kind: str = Field(default="head", description="Which layers, and how.")
