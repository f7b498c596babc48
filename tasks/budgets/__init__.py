"""Budgets: each says how many samples are flagged. To add one, add a file here."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from tasks.parts import Choice, Family, Part


class Budget(Part):
    """Base of all budgets."""

    kind: Any

    def count(self, suspicion: np.ndarray) -> int:
        """How many of the samples with these suspicions to flag, at most."""
        raise TypeError(f"{type(self).__name__} must define count()")


BUDGETS: Family[Budget] = Family(__name__, Budget)


class BudgetChoice(Choice[Budget], family=BUDGETS):
    """How many samples are flagged."""

    kind: str = Field(default="share", description="share: a fixed share of the training samples.")
