"""ResNet-18 and ResNet-34 in their CIFAR form: a 3 × 3 stem of stride 1 and no max-pooling, for small images.

Basic blocks as in He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; 64-128-256-512 channels, so the
head is k × 512 as in the paper this project follows, unless a width says otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from tasks.dataset.payload import Payload
from tasks.training.models import Model, need_images

if TYPE_CHECKING:
    from torch import nn


class _ResNet(Model):
    """Base of both depths."""

    width: int = Field(default=64, ge=1, description="Channels of the first stage; each next has twice as many.")
    blocks: ClassVar[tuple[int, int, int, int]]

    def build(self, payload: Payload, classes: int) -> nn.Module:
        """Stem, four stages, global average, Linear head on 8 × width features."""
        from torch import nn

        from tasks.training.modules import BasicBlock

        stem = nn.Conv2d(need_images(payload, self.kind), self.width, 3, padding=1, bias=False)
        layers: list[nn.Module] = [stem, nn.BatchNorm2d(self.width), nn.ReLU()]
        inside = self.width
        for stage, blocks in enumerate(self.blocks):
            outside = self.width << stage
            for block in range(blocks):
                layers.append(BasicBlock(inside, outside, stride=2 if stage and not block else 1))
                inside = outside
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes))


class ResNet18(_ResNet, kind="resnet18"):
    """18 layers, 11.2 million parameters."""

    blocks: ClassVar[tuple[int, int, int, int]] = (2, 2, 2, 2)


class ResNet34(_ResNet, kind="resnet34"):
    """34 layers, 21.3 million parameters; the paper's network."""

    blocks: ClassVar[tuple[int, int, int, int]] = (3, 4, 6, 3)
