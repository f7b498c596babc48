"""Gradient kinds: each takes per-sample gradients of a trained network. To add one, add a file here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from tasks.parts import Choice, Family, Part

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.kernels.head import HeadGradient


class Gradient(Part):
    """Base of all gradient kinds."""

    kind: Any

    def check(self, network: nn.Module, example: torch.Tensor) -> None:
        """Refuse a network this kind cannot serve, before anything is trained.

        Raises:
            BadModel: naming what the network lacks.
        """
        raise TypeError(f"{type(self).__name__} must define check()")

    def take(self, network: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> HeadGradient:
        """Gradients of one batch: n × shape inputs and n given classes, on the network's device, in evaluation mode."""
        raise TypeError(f"{type(self).__name__} must define take()")


GRADIENTS: Family[Gradient] = Family(__name__, Gradient)


class GradientChoice(Choice[Gradient], family=GRADIENTS):
    """Which gradients are taken."""

    kind: str = Field(default="head", description="head: the final linear layer, in closed form.")
