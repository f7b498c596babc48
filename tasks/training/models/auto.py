"""The network for whoever names none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.dataset.payload import Payload
from tasks.training.models.mlp import Mlp

if TYPE_CHECKING:
    from torch import nn

# Shorter side from which on pictures are looked at by convolutions: below, a perceptron is as good and far cheaper.
LEAST_SIDE = 24


class Auto(Mlp, kind="auto"):
    """A multi-layer perceptron (hidden, dropout); of pictures of 24 pixels or more a small residual network."""

    def build(self, payload: Payload, classes: int) -> nn.Module:
        """By the inputs."""
        if not _is_picture(payload):
            return super().build(payload, classes)
        from tasks.training.modules import SmallResidual

        return SmallResidual(payload.shape, classes)

    def name_for(self, payload: Payload) -> str:
        """With the choice."""
        return "small residual (auto)" if _is_picture(payload) else "mlp (auto)"


def _is_picture(payload: Payload) -> bool:
    return payload.is_image and min(payload.shape[1:]) >= LEAST_SIDE
