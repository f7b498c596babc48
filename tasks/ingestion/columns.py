"""Columns of a table to what a network can be fed, and the rows for which that cannot be done.

Each conversion is given a function ``reject(mask, reason, detail, values)`` and calls it for the rows it cannot use; in
their place the column it returns holds anything, for the caller drops them.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import json
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadInput
from tasks.dataset import images
from tasks.dataset.payload import Payload
from tasks.dataset.targets.number import NUMBER


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


def cast(column: pa.Array, kind: pa.DataType, where: str, name: str) -> pa.Array:
    if column.type == kind:
        return column
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise BadInput(
            where=f"{where}, column {name!r}",
            expected=f"{kind}, as in the first rows",
            got=str(column.type),
            do="Give the column one type in every file.",
        ) from error


def width_of(column: pa.Array) -> int:
    """Values a row has in this column: 1 for a number (or text that mostly is one), 0 when it cannot be an input."""
    kind = column.type
    if is_list(kind):
        if not is_number(kind.value_type):
            return 0
        lengths = pc.drop_null(pc.list_value_length(column))
        return kind.list_size if pa.types.is_fixed_size_list(kind) else (lengths[0].as_py() if len(lengths) else 0)
    if pa.types.is_string(kind):
        cells = column.filter(pc.fill_null(pc.not_equal(column, ""), fill_value=False))
        numbers = pc.sum(pc.match_substring_regex(cells, NUMBER)).as_py() or 0
        return 1 if numbers * 2 > len(cells) else 0
    return 1 if is_number(kind) or pa.types.is_boolean(kind) else 0


def why_no_input(column: pa.Array) -> str | None:
    """Why a column's values cannot be an input, as its first rows show; None where they can."""
    kind = column.type
    if width_of(column) > 0:
        return None
    if pa.types.is_null(kind) or column.null_count == len(column):
        return "empty"
    if is_list(kind):
        return "lists, the first one empty" if is_number(kind.value_type) else f"lists of {_plain(kind.value_type)}"
    if pa.types.is_dictionary(kind):
        return why_no_input(column.dictionary_decode()) or f"categories of {kind.value_type}"
    if not is_text(kind):
        return f"{_plain(kind)}, no number"
    words = as_text(column).drop_null()
    numbers = pc.sum(pc.match_substring_regex(words, NUMBER)).as_py() or 0
    if numbers * 2 > len(words):
        return f"numbers as {kind}"
    return "mostly text" if numbers else "text" if len(words) else "empty"


def _plain(kind: pa.DataType) -> str:
    """A type without what it is made of: a struct's fields may fill a page."""
    return "objects" if isinstance(kind, pa.BaseExtensionType) else str(kind).partition("<")[0]


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
    return column.cast(pa.string())


def as_numbers(column: pa.Array, name: str, reject: RejectRows) -> pa.Array:
    """A column of numbers as it is; text parsed as float64, with the cells that are none rejected."""
    if not (is_number(column.type) or pa.types.is_boolean(column.type)):
        column = as_text(column)
    if pa.types.is_string(column.type):
        has_value = pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(column), ""), fill_value=False)
        number = pc.fill_null(pc.match_substring_regex(column, NUMBER), fill_value=False)
        reject(~has_value.to_numpy(zero_copy_only=False), "missing value", f"column {name}")
        bad = pc.and_(has_value, pc.invert(number)).to_numpy(zero_copy_only=False)
        reject(bad, "not a number", f"column {name}", column)
        values = pc.if_else(number, pc.utf8_trim_whitespace(column), pa.scalar(None, pa.string())).cast(pa.float64())
        return _finite(values, name, reject)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    if pa.types.is_decimal(column.type) or pa.types.is_float16(column.type):
        # DuckDB cannot read half floats out of Arrow, and a decimal is a number like any other here.
        column = column.cast(pa.float64() if pa.types.is_decimal(column.type) else pa.float32())
    reject(column.is_null().to_numpy(zero_copy_only=False), "missing value", f"column {name}")
    return _finite(column, name, reject)


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


def image_bytes(value: Any) -> bytes | None:
    """Hugging Face stores {bytes, path}; everybody else the bytes."""
    data = value.get("bytes") if isinstance(value, dict) else value
    return data if isinstance(data, bytes) else None


def as_images(column: pa.Array, payload: Payload, name: str, reject: RejectRows) -> pa.Array:
    data = [image_bytes(value) for value in column.to_pylist()]
    for i, item in enumerate(data):
        one = np.zeros(len(data), bool)
        one[i] = True
        if item is None:
            reject(one, "missing value", f"column {name}")
            continue
        try:
            images.decode(item, payload.shape, resize=payload.resize)
        except ValueError as error:
            reject(one, "undecodable image", f"column {name}: {error}")
    return pa.array(data, pa.binary())
