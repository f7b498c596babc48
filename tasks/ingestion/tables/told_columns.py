"""What is told of a source's columns: a table of all of them, and the facts that a summary has room for."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.dataset.encoders import cells
from tasks.dataset.payload import Payload
from tasks.ingestion.tables.leaks import LEAK
from tasks.ingestion.tables.roles import CONSTANT, Column
from tasks.ingestion.tables.table_options import WEIGHTS

# Every column of a table's source, and what it is used for.
COLUMNS = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("role", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("distinct_values", pa.int64()),  # null where values are not compared: lists, texts, images
        pa.field("missing", pa.int64()),
        pa.field("why", pa.string(), nullable=False),
    ]
)

# Roles of columns that no network reads and no option names.
_UNUSED = ("carried", "id", "index", "text")


def columns_beside(payload: Payload, unused: dict[str, str]) -> list[Column]:
    """The columns of images and texts, whose values nobody compares; none where there is nothing to tell apart."""
    if not unused:
        return []
    kind = {"image": "image", "tokens": "text", "array": "numbers"}[payload.kind]
    inputs = [Column(name, "input", kind, None, None, "") for name in payload.own]
    return [*inputs, *(_beside(name, why) for name, why in unused.items())]


def _beside(name: str, why: str) -> Column:
    role, kind = ("weight", "number") if why == WEIGHTS else ("carried", "other")
    return Column(name, role, kind, None, None, why)


def write_columns(columns: list[Column], path: Path) -> None:
    """Write schema ``COLUMNS``, in the order of the source."""
    rows = [{name: value for name, value in asdict(column).items() if name in COLUMNS.names} for column in columns]
    pq.write_table(pa.Table.from_pylist(rows, schema=COLUMNS), path)


def column_facts(columns: list[Column]) -> dict[str, list[Any]]:
    """``inputs``: each input with its kind; ``unused``: every other column with the reason; ``leaks``: inputs that tell
    the label by themselves, where there are some."""
    inputs = [{"column": column.name, "kind": described(column)} for column in columns if column.is_input]
    unused = [{"column": column.name, "reason": column.why} for column in columns if is_unused(column)]
    leaks = [column.name for column in columns if column.is_input and column.why.endswith(LEAK)]
    return {"unused": unused} | ({"inputs": inputs} if inputs else {}) | ({"leaks": leaks} if leaks else {})


def is_unused(column: Column) -> bool:
    """Whether no network reads a column and no option gives it a role."""
    return column.role in _UNUSED and not column.why.startswith("named by")


def described(column: Column) -> str:
    """The kind of an input in a few words: ``category, 2 values``."""
    words = column.kind
    if column.kind in ("category", "hashed text"):
        words += f", {column.distinct_values:,} values"
    if column.kind == "written number":
        words += cells.in_unit(column.form or "")
    if column.why == CONSTANT:
        words += f", {CONSTANT}"
    return words + (f", {column.missing:,} missing" if column.missing else "")
