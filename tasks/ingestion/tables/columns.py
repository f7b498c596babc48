"""Columns of a table to what a network can be fed, and the rows for which that cannot be done.

Each conversion is given a function ``reject(mask, reason, detail, values)`` and calls it for the rows it cannot use; in
their place the column it returns holds anything, for the caller drops them.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import json
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadInput
from tasks.dataset.targets.number import NUMBER

# From there on a float is no 64-bit integer.
_INT64 = 2.0**63


class RejectRows(Protocol):
    """Rejects the rows of a mask, once each."""

    def __call__(self, bad: np.ndarray, reason: str, detail: str, values: pa.Array | None = None) -> None: ...


def is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def element_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if is_list(kind) else kind


def is_number(kind: pa.DataType) -> bool:
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)


def input_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_boolean(kind):
        return pa.uint8()
    if pa.types.is_float16(kind):
        return pa.float32()
    return pa.float64() if is_text(kind) or pa.types.is_decimal(kind) else kind


def cast(column: pa.Array, kind: pa.DataType, where: str, name: str, *, exact: bool = False) -> pa.Array:
    if column.type == kind:
        return column
    try:
        # A float may not hold a large whole number to its last digit; a network's float32 holds less.
        may_round = pa.types.is_integer(column.type) and pa.types.is_floating(kind) and not exact
        return column.cast(kind, safe=not may_round)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(
            where=f"{where}, column {name!r}",
            expected=f"{kind}, as in the first rows",
            got=str(column.type),
            do="Give the column one type in every file.",
        ) from error


def as_text(column: pa.Array, *, trim: bool = True) -> pa.Array:
    """Text, without the white space around it unless that counts; null where there is nothing else."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if is_text(column.type):
        column = column.cast(pa.string())
        words = pc.utf8_trim_whitespace(column)
        return pc.if_else(pc.equal(words, ""), pa.scalar(None, pa.string()), words if trim else column)
    if pa.types.is_nested(column.type):
        return pa.array([None if v is None else json.dumps(v, default=str) for v in column.to_pylist()], pa.string())
    return _float_text(column) if pa.types.is_floating(column.type) else column.cast(pa.string())


def _float_text(column: pa.Array) -> pa.Array:
    """Whole numbers with all their digits, as where they are integers; Arrow writes 1e+11 for an id of twelve."""
    column = column.cast(pa.float32()) if pa.types.is_float16(column.type) else column
    is_whole = pc.and_(pc.equal(column, pc.floor(column)), pc.less(pc.abs(column), _INT64))
    whole = pc.if_else(is_whole, column, pa.scalar(None, column.type)).cast(pa.int64())
    return pc.coalesce(whole.cast(pa.string()), column.cast(pa.string()))


def without_view(column: pa.Array) -> pa.Array:
    """The same column, words not by view: Arrow cannot filter those yet, and Polars writes them."""
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column


def as_numbers(column: pa.Array, name: str, reject: RejectRows) -> pa.Array:
    """A column of numbers as it is; text parsed as float64, with the cells that are none rejected, also empty ones."""
    if not (is_number(column.type) or pa.types.is_boolean(column.type)):
        column = as_text(column)
    reject(column.is_null().to_numpy(zero_copy_only=False), "missing value", f"column {name}")
    return _finite(_parsed(column, name, reject), name, reject)


def parse_numbers(column: pa.Array, name: str, reject: RejectRows) -> pa.Array:
    """The same, but a missing number is null: no value, NaN, or a text without a word."""
    if not (is_number(column.type) or pa.types.is_boolean(column.type)):
        column = as_text(column)
    elif pa.types.is_floating(column.type):
        column = pc.if_else(column.is_null(nan_is_null=True), pa.scalar(None, column.type), column)
    return _finite(_parsed(column, name, reject), name, reject)


def _parsed(column: pa.Array, name: str, reject: RejectRows) -> pa.Array:
    if pa.types.is_string(column.type):
        number = pc.fill_null(pc.match_substring_regex(column, NUMBER), fill_value=False)
        bad = pc.and_(column.is_valid(), pc.invert(number)).to_numpy(zero_copy_only=False)
        reject(bad, "not a number", f"column {name}", column)
        return pc.if_else(number, column, pa.scalar(None, pa.string())).cast(pa.float64())
    if pa.types.is_boolean(column.type):
        return column.cast(pa.uint8())
    if pa.types.is_decimal(column.type) or pa.types.is_float16(column.type):
        # DuckDB cannot read half floats out of Arrow, and a decimal is a number like any other here.
        return column.cast(pa.float64() if pa.types.is_decimal(column.type) else pa.float32())
    return column


def _finite(column: pa.Array, name: str, reject: RejectRows) -> pa.Array:
    if pa.types.is_floating(column.type):
        # Networks see float32: what overflows there is infinite.
        finite = pc.is_finite(column.cast(pa.float32(), safe=False))
        bad = pc.invert(pc.fill_null(finite, fill_value=True)).to_numpy(zero_copy_only=False)
        reject(bad, "NaN or infinite", f"column {name}")
    return column


def as_vectors(column: pa.Array, width: int, name: str, reject: RejectRows) -> pa.Array:
    """A list column as fixed-size lists of ``width``; rows of another length or with a missing value are rejected."""
    if not is_list(column.type):
        reject(np.ones(len(column), bool), "not a list", f"column {name}", column)
        return pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(len(column) * width)), width)
    element = column.type.value_type
    target = pa.float32() if pa.types.is_float16(element) else pa.float64() if pa.types.is_decimal(element) else element
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
    reject(column.is_null().to_numpy(zero_copy_only=False), "missing value", f"column {name}")
    reject(lengths != width, "wrong length", f"column {name}, where the first row has {width} values")
    fits = lengths == width
    values = pc.list_flatten(column.filter(pa.array(fits))).cast(target)
    numbers = values.to_numpy(zero_copy_only=False).reshape(-1, width)
    bad = np.zeros(len(column), bool)
    if values.null_count or numbers.dtype.kind == "f":
        with np.errstate(over="ignore"):
            bad[fits] = ~np.isfinite(numbers.astype(np.float32)).all(axis=1)
    reject(bad, "NaN or infinite", f"column {name}")
    if fits.all() and not bad.any():
        return pa.FixedSizeListArray.from_arrays(values, width)
    clean = np.zeros((len(column), width), dtype=target.to_pandas_dtype())
    clean[fits & ~bad] = numbers[~bad[fits]]
    return pa.FixedSizeListArray.from_arrays(pa.array(clean.ravel(), target), width)


def as_texts(column: pa.Array, name: str, reject: RejectRows, *, trim: bool = True) -> pa.Array:
    """A column of text, without the white space around it unless that counts; rows without a word are rejected."""
    column = as_text(column, trim=trim)
    reject(column.is_null().to_numpy(zero_copy_only=False), "missing value", f"column {name}")
    return column
