"""Dates and times."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.dataset.encoders.cells import dates, trimmed
from tasks.dataset.encoders.encoder import Encoder

Part = Literal["days", "year", "month", "weekday", "hour"]
PARTS: tuple[Part, ...] = get_args(Part)
_CYCLES = {"month": 12.0, "weekday": 7.0, "hour": 24.0}
_DAY = 86_400


class DateParts(Encoder):
    """A date as what it says: days since the first, year, and on circles month, weekday and hour of the day.

    A missing date is the training rows' median.
    """

    kind: Literal["date_parts"] = "date_parts"
    parts: tuple[Part, ...]
    """Those that differ among the training rows."""
    first: int
    """Seconds since 1970, as the two below."""
    median: int
    form: str | None = None
    """How text is read; None of dates and times."""

    @property
    def reads(self) -> str:
        """The form."""
        return self.form or ""

    @property
    def knows(self) -> tuple[str, ...]:
        """The parts."""
        return self.parts

    @property
    def width(self) -> int:
        """One for each number, two for each circle, and the indicator."""
        return sum(2 if part in _CYCLES else 1 for part in self.parts) + self.indicator

    def encode(self, column: pa.Array) -> np.ndarray:
        """n × width."""
        seconds = seconds_of(column, self.form)
        missing = seconds.is_null().to_numpy(zero_copy_only=False)
        filled = pc.fill_null(seconds, self.median)
        columns = [values for part in self.parts for values in _part(filled, part, self.first)]
        parts = np.stack(columns, axis=1) if columns else np.zeros((len(column), 0))
        return self.beside(parts.astype(np.float32), missing)


def seconds_of(column: pa.Array, form: str | None) -> pa.Array:
    """int64 seconds since 1970 of dates, times or text; of a time of day since midnight."""
    if form is not None:
        column = dates(trimmed(column), form)
    if pa.types.is_time(column.type):
        column = column.cast(pa.time32("s"), safe=False)
        return column.cast(pa.int32()).cast(pa.int64())
    return column.cast(pa.timestamp("s"), safe=False).cast(pa.int64())


def _part(seconds: pa.Array, part: Part, first: int) -> list[np.ndarray]:
    if part == "days":
        return [(seconds.to_numpy(zero_copy_only=False) - first) / _DAY]
    values = part_values(seconds, part)
    if part not in _CYCLES:
        return [values]
    angle = 2 * np.pi * values / _CYCLES[part]
    return [np.sin(angle), np.cos(angle)]


def part_values(seconds: pa.Array, part: Part) -> np.ndarray:
    """A part as a number: days since 1970, year, month 0–11, weekday 0–6 from Monday, hour with its fraction."""
    if part == "days":
        return seconds.to_numpy(zero_copy_only=False) // _DAY
    if part == "hour":
        return (seconds.to_numpy(zero_copy_only=False) % _DAY) / 3600.0
    times = seconds.cast(pa.timestamp("s"))
    values = {"year": pc.year, "month": pc.month, "weekday": pc.day_of_week}[part](times)
    return values.to_numpy(zero_copy_only=False) - (1.0 if part == "month" else 0.0)
