"""Fields within fields: ``data.text``, ``annotations[0].result[0].value.choices[0]``; of JSON and of Arrow structs.

A key may hold dots itself: of several readings the one with the longest key counts.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.ingestion.tables.columns import is_list

Steps = tuple[str | int, ...]

_STEP = re.compile(r"\[(-?\d+)\]|(?:^|\.)([^.\[\]]+)")
_SHOWN = 40


def parse(path: str) -> Steps:
    """A path's steps: names of fields, and places in lists, from 0, or from −1 backwards; none of what is no path."""
    steps: list[str | int] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if match is None:
            return ()
        steps.append(match[2] if match[1] is None else int(match[1]))
        at = match.end()
    return tuple(steps)


def written(steps: Steps) -> str:
    """The path with these steps."""
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps)
    return text.removeprefix(".")


def _readings(steps: Steps) -> Iterator[tuple[str, Steps]]:
    """The key that a path may begin with, and the rest; the longest key first."""
    return ((written(steps[:n]), steps[n:]) for n in range(len(steps), 0, -1))


# ---- JSON --------------------------------------------------------------------------------------------------------


def value_at(value: Any, steps: Steps) -> Any:
    """What stands at a path within a JSON value; None where nothing does."""
    if not steps or value is None:
        return value
    if isinstance(value, dict):
        return next((value_at(value[key], rest) for key, rest in _readings(steps) if key in value), None)
    first = steps[0]
    if isinstance(value, list) and isinstance(first, int) and -len(value) <= first < len(value):
        return value_at(value[first], steps[1:])
    return None


def has_several(value: Any, steps: Steps) -> bool:
    """Whether a path takes one element of a list that has more."""
    if not steps:
        return False
    if isinstance(value, dict):
        return next((has_several(value[key], rest) for key, rest in _readings(steps) if key in value), False)
    first = steps[0]
    if not isinstance(value, list) or not isinstance(first, int) or not -len(value) <= first < len(value):
        return False
    return len(value) > 1 or has_several(value[first], steps[1:])


def paths_of(value: Any, path: str = "") -> Iterator[str]:
    """The paths of the plain values within a JSON value; of a list the first element's."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from paths_of(inner, f"{path}.{key}".removeprefix("."))
    elif isinstance(value, list) and value and isinstance(value[0], dict | list | str):
        yield from paths_of(value[0], f"{path}[0]")
    elif value is not None:
        yield path


# ---- Arrow -------------------------------------------------------------------------------------------------------


def column_at(table: pa.RecordBatch, path: str) -> pa.Array | None:
    """The column of what stands at a path within a table's columns; None where no row can have anything there."""
    for name, rest in _readings(parse(path)):
        if name in table.schema.names:
            return array_at(table.column(name), rest)
    return None


def array_at(array: pa.Array, steps: Steps) -> pa.Array | None:
    """What stands at a path within each value of an array, null where nothing does; None for no such path."""
    if not steps:
        return array
    kind, first = array.type, steps[0]
    if pa.types.is_struct(kind):
        names = [field.name for field in kind]
        for name, rest in _readings(steps):
            if name in names:
                return array_at(pc.struct_field(array, [names.index(name)]), rest)
        return None
    if not isinstance(first, int) or not is_list(kind):
        return None
    plain = array.cast(pa.list_(kind.value_type)) if pa.types.is_fixed_size_list(kind) else array
    lengths = pc.fill_null(pc.list_value_length(plain), 0).to_numpy(zero_copy_only=False)
    starts = plain.offsets.to_numpy()[:-1].astype(np.int64)
    has = (lengths > first) if first >= 0 else (lengths >= -first)
    indices = pa.array(starts + (first if first >= 0 else lengths + first), mask=~has)
    return array_at(plain.values.take(indices), steps[1:])


def fields_of(kind: pa.DataType, path: str) -> Iterator[str]:
    """The paths of the plain values within a type; of a list the first element's."""
    if pa.types.is_struct(kind):
        for field in kind:
            yield from fields_of(field.type, f"{path}.{field.name}")
    elif is_list(kind) and (pa.types.is_nested(kind.value_type) or pa.types.is_string(kind.value_type)):
        yield from fields_of(kind.value_type, f"{path}[0]")
    else:
        yield path


def objects_of(schema: pa.Schema) -> dict[str, tuple[str, ...]]:
    """The columns of objects, or of lists of them, each with the paths of its values."""
    return {
        field.name: tuple(fields_of(field.type, field.name))[:_SHOWN]
        for field in schema
        if pa.types.is_struct(field.type) or (is_list(field.type) and pa.types.is_nested(field.type.value_type))
    }
