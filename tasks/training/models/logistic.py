"""Multinomial logistic regression."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tasks.dataset.payload import Payload
from tasks.training.models import Model

if TYPE_CHECKING:
    from torch import nn


class Logistic(Model, kind="logistic"):
    """One linear layer: its head gradient is its whole gradient."""

    def build(self, payload: Payload, classes: int) -> nn.Module:
        """Flatten, then Linear."""
        from torch import nn

        return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(payload.shape), classes))
