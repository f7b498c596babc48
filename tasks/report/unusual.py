"""What is unusual in a row: of a number how far it lies from what is usual, of a category how rare it is."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

# Columns that are looked at; numbers of a list and letters of a text that are shown.
_COLUMNS, _NUMBERS, _LETTERS = 200, 8, 400
# A median absolute deviation of a normal distribution, in standard deviations.
_NORMAL_MAD = 0.6745


class Cell(NamedTuple):
    """What stands in one column of a row."""

    name: str
    value: str
    usual: str
    """What is usual there, in words; empty where nothing is said of it."""
    surprise: float
    """In standard deviations of a normal distribution; of a category those that are as rare."""


def cells_of(paths: Sequence[Path], columns: Sequence[str], rows: list[dict[str, Any]]) -> list[list[Cell]]:
    """The cells of some rows, the most unusual first.

    Args:
        paths: the Parquet files of the training samples.
        columns: that are looked at, in their order; those beyond the first two hundred are left out.
        rows: column → value of each row.
    """
    measures = {name: _measure(_column(paths, name)) for name in columns[:_COLUMNS]}
    return [
        sorted(
            (Cell(name, show_value(row[name]), *measure(row[name])) for name, measure in measures.items()),
            key=lambda cell: -cell.surprise,
        )
        for row in rows
    ]


def _column(paths: Sequence[Path], name: str) -> pa.ChunkedArray:
    return pa.chunked_array([chunk for path in paths for chunk in pq.read_table(path, columns=[name])[name].chunks])


_Measure = Callable[[Any], tuple[str, float]]


def _measure(column: pa.ChunkedArray) -> _Measure:
    """value → (what is usual, surprise) in a column."""
    kind = column.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind):
        return _of_numbers(column.drop_null().to_numpy().astype(float), column.null_count / max(1, len(column)))
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        return _of_categories(column)
    return lambda _: ("", 0.0)


def _of_numbers(values: np.ndarray, missing: float) -> _Measure:
    """By the robust z, z = 0.6745 (x − median) / MAD; by the standard deviation where more than half are equal."""
    values = values[np.isfinite(values)]
    if not len(values):
        return lambda _: ("", 0.0)
    low, median, high = np.quantile(values, (0.25, 0.5, 0.75))
    spread = float(np.median(np.abs(values - median))) / _NORMAL_MAD or float(values.std())

    def measure(value: Any) -> tuple[str, float]:
        if value is None or not np.isfinite(value):
            return f"missing, as in {missing:.1%} of the rows", _rarity(missing)
        z = (float(value) - median) / spread if spread else 0.0
        usual = f"usually {low:.4g}" if low == high else f"usually {low:.4g} to {high:.4g}"
        return f"{usual} (z {z:+.1f})", abs(z)

    return measure


def _of_categories(column: pa.ChunkedArray) -> _Measure:
    counts = {row["values"]: row["counts"] / len(column) for row in pc.value_counts(column).to_pylist()}
    # Where most values are their own, they are no categories.
    is_category = len(counts) <= max(20, len(column) / 10)

    def measure(value: Any) -> tuple[str, float]:
        if not is_category:
            return "", 0.0
        share = counts.get(value, 0.0)
        return f"in {share:.1%} of the rows", _rarity(share)

    return measure


def _rarity(share: float) -> float:
    """How far out in a normal distribution is as rare, on both sides together."""
    return 0.0 if share >= 1 else -NormalDist().inv_cdf(max(share, 1e-9) / 2)


def show_value(value: Any) -> str:
    """A value as a card has room for it."""
    if value is None:
        return "missing"
    if isinstance(value, list):
        more = f" … ({len(value):,} in all)" if len(value) > _NUMBERS else ""
        return ", ".join(map(show_value, value[:_NUMBERS])) + more
    if isinstance(value, bytes):
        return f"{len(value):,} bytes"
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= _LETTERS else f"{text[: _LETTERS - 1]}…"
