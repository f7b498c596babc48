"""A fixed share."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from tasks.budgets import Budget


class Share(Budget):
    """The paper's budget: the same share k of every dataset."""

    kind: Literal["share"] = "share"
    share: float = Field(default=0.1, ge=0, lt=1, description="Share of the training samples to flag.")

    def count(self, suspicion: np.ndarray) -> int:
        """round(share · n)"""
        return round(self.share * len(suspicion))
