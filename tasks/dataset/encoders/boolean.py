"""Yes and no."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.dataset.encoders.cells import is_yes, trimmed
from tasks.dataset.encoders.encoder import Encoder


class Boolean(Encoder):
    """1 for yes and 0 for no, in any spelling; a missing value, or another word, is what most training rows say."""

    kind: Literal["boolean"] = "boolean"
    usual: bool

    @property
    def width(self) -> int:
        """One, and the indicator."""
        return 1 + self.indicator

    def encode(self, column: pa.Array) -> np.ndarray:
        """n × width."""
        values = column if pa.types.is_boolean(column.type) else is_yes(trimmed(column))
        missing = values.is_null().to_numpy(zero_copy_only=False)
        filled = pc.fill_null(values, self.usual).to_numpy(zero_copy_only=False)
        return self.beside(filled.astype(np.float32)[:, None], missing)
