"""Numbers, and numbers as people write them."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tasks.dataset.encoders.cells import trimmed, written_numbers
from tasks.dataset.encoders.encoder import Encoder


class Number(Encoder):
    """A number as it is; a missing one is the training rows' median."""

    kind: Literal["number"] = "number"
    median: float
    form: str = Field(default="plain", pattern=r"^(plain|(point|comma)( \S.*)?)$")
    """plain: numbers. Else text, and what stands before the fraction: ``$1,234.5`` or ``1.234,5 €``; behind a space the
    unit of every number, or its factors (tasks/dataset/encoders/cells.py)."""

    @property
    def reads(self) -> str:
        """The form."""
        return self.form

    @property
    def width(self) -> int:
        """One, and the indicator."""
        return 1 + self.indicator

    def encode(self, column: pa.Array) -> np.ndarray:
        """n × width."""
        values = self.numbers(column)
        missing = values.is_null().to_numpy(zero_copy_only=False)
        numbers = pc.fill_null(values, self.median).to_numpy(zero_copy_only=False)
        return self.beside(numbers.astype(np.float32)[:, None], missing)

    def numbers(self, column: pa.Array) -> pa.Array:
        """float64, null where the value is missing."""
        values = column if self.form == "plain" else written_numbers(trimmed(column), self.form)
        values = values.cast(pa.float64(), safe=False)
        return pc.if_else(values.is_null(nan_is_null=True), pa.scalar(None, pa.float64()), values)
