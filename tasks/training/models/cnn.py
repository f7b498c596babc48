"""A small convolutional network, for two cores."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tasks.dataset.payload import Payload
from tasks.training.models import Model, need_images

if TYPE_CHECKING:
    from torch import nn


class Cnn(Model, kind="cnn"):
    """Three 3 × 3 convolutions with BatchNorm and ReLU, halving the image twice, global average, Linear head."""

    width: int = Field(
        default=32, ge=1, description="Channels of the first convolution; the others have 2 and 4 times as many."
    )

    def build(self, payload: Payload, classes: int) -> nn.Module:
        """For images of 4 × 4 pixels or more, of any size."""
        from torch import nn

        channels = need_images(payload, "cnn")
        w = self.width

        def block(inside: int, outside: int, stride: int) -> list[nn.Module]:
            convolution = nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False)
            return [convolution, nn.BatchNorm2d(outside), nn.ReLU()]

        return nn.Sequential(
            *block(channels, w, 1),
            nn.MaxPool2d(2),
            *block(w, 2 * w, 1),
            nn.MaxPool2d(2),
            *block(2 * w, 4 * w, 1),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * w, classes),
        )
