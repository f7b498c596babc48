"""What every encoder of a column is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict


class Encoder(BaseModel):
    """A column of a table to float32, as it was fitted on the training rows: data, kept as JSON, never code."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: Any = None
    indicator: bool = False
    """Whether a column of its own says where the value is missing: where training rows lack some."""

    @property
    def reads(self) -> str:
        """How cells are read: another encoder's networks serve only where it is the same."""
        return ""

    @property
    def knows(self) -> tuple[str, ...]:
        """What has a column of its own; what is new has none, and a network knows nothing of it."""
        return ()

    @property
    def width(self) -> int:
        """Values that a cell becomes."""
        raise TypeError(f"{type(self).__name__} must define width")

    def encode(self, column: pa.Array) -> np.ndarray:
        """n × width float32, none of them missing."""
        raise TypeError(f"{type(self).__name__} must define encode()")

    def beside(self, values: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """n × width of n × (width without the indicator), and where there is one the indicator as the last column."""
        if not self.indicator:
            return values
        return np.concatenate([values, missing.astype(np.float32)[:, None]], axis=1)
