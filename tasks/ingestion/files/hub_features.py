"""What Hugging Face writes beside the columns of Arrow and Parquet: the names of numbered classes."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_KEY = b"huggingface"


def class_names_of(schema: pa.Schema) -> dict[str, pa.Array]:
    """The columns of numbered classes, each with their names; none where the schema does not say."""
    try:
        said = json.loads((schema.metadata or {}).get(_KEY, b"{}"))
        features: dict[str, Any] = said["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return {
        name: pa.array(feature["names"], pa.string())
        for name, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list)
    }


def with_names(batch: pa.RecordBatch, names: Mapping[str, pa.Array]) -> pa.RecordBatch:
    """The batch with names in place of the numbers of classes."""
    columns = [
        names[name].take(_positions(column, len(names[name])))
        if name in names and pa.types.is_integer(column.type)
        else column
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    ]
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def names_note(source: str, names: Mapping[str, pa.Array]) -> tuple[str, ...]:
    """What there is to tell about it."""
    columns = ", ".join(names)
    return (f"{source}: classes have the names that its Hugging Face metadata gives them: {columns}",) if names else ()


def _positions(column: pa.Array, count: int) -> pa.Array:
    """Numbers of classes; null where there is no such class, as −1 is the hub's "no label"."""
    values = pc.fill_null(column.cast(pa.int64()), -1).to_numpy(zero_copy_only=False)
    return pa.array(values, mask=(values < 0) | (values >= count))
