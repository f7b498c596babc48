"""Multi-layer perceptron."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from pydantic import Field, PositiveInt

from tasks.dataset.payload import Payload
from tasks.training.models import Model

if TYPE_CHECKING:
    from torch import nn


class Mlp(Model, kind="mlp"):
    """Linear layers with ReLU between them, for vectors and embeddings (and small images, flattened)."""

    hidden: list[PositiveInt] = Field(default=[128], min_length=1, description="Width of each hidden layer.")
    dropout: float = Field(default=0.0, ge=0, lt=1, description="Dropout after each hidden layer, while training.")

    def build(self, payload: Payload, classes: int) -> nn.Module:
        """Flatten, hidden layers, Linear head."""
        from torch import nn

        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(payload.shape)
        for size in self.hidden:
            layers += [nn.Linear(width, size), nn.ReLU(), *([nn.Dropout(self.dropout)] if self.dropout else [])]
            width = size
        return nn.Sequential(*layers, nn.Linear(width, classes))
