"""Lists of numbers."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa

from tasks.dataset.encoders.encoder import Encoder


class Numbers(Encoder):
    """A list of so many numbers in every row, side by side."""

    kind: Literal["numbers"] = "numbers"
    length: int

    @property
    def reads(self) -> str:
        """So many."""
        return str(self.length)

    @property
    def width(self) -> int:
        """As many."""
        return self.length

    def encode(self, column: pa.Array) -> np.ndarray:
        """n × width."""
        # flatten(), not .values: .values ignores the offset of a sliced array.
        values = column.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(column), self.length).astype(np.float32)
