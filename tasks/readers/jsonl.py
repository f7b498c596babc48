"""JSON lines: one object a line, read line by line, so that a malformed line rejects itself and nothing else."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from tasks.errors import BadInput
from tasks.readers import CHUNK_ROWS, Reject, files_below
from tasks.tabular import Batch, Tabular


class Jsonl(Tabular):
    """One JSON object a line (.gz too); a key that a line lacks is a missing value."""

    kind: Literal["jsonl"] = "jsonl"

    def carried_type(self, kind: pa.DataType) -> pa.DataType:
        """JSON has no schema: a carried value may change its type from line to line."""
        return pa.string()

    def batches(self, path: Path) -> Iterator[Batch]:
        """Batches with the columns of the first one; numbers and lists of numbers keep their types."""
        names: list[str] = []
        for file in files_below(path):
            with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
                numbered = enumerate(lines)
                while block := list(islice(numbered, CHUNK_ROWS)):
                    objects, rows, rejects = _parse(block)
                    # The columns are settled by the first block, and every later one has the same.
                    names = names or list(dict.fromkeys(key for item in objects for key in item))
                    if not names:
                        raise BadInput(
                            where=str(file),
                            expected="one JSON object a line",
                            got=rejects[0].detail if rejects else "blank lines",
                            do="A file that is one JSON array must be rewritten, one element a line.",
                        )
                    columns = [_column([item.get(name) for item in objects]) for name in names]
                    yield Batch(file.name, pa.RecordBatch.from_arrays(columns, names=names), rows, rejects)


def _parse(block: list[tuple[int, bytes]]) -> tuple[list[dict[str, Any]], np.ndarray, list[Reject]]:
    objects, rows, rejects = [], [], []
    for number, line in block:
        if not line.strip():
            continue
        try:
            item = json.loads(line)
        except (json.JSONDecodeError, UnicodeDecodeError) as error:
            rejects.append(Reject(number, "malformed line", f"{error}: {line[:80]!r}"))
            continue
        if not isinstance(item, dict):
            rejects.append(Reject(number, "malformed line", f"a {type(item).__name__}, not an object: {line[:80]!r}"))
            continue
        objects.append(item)
        rows.append(number)
    return objects, np.array(rows, np.int64), rejects


def _column(values: list[Any]) -> pa.Array:
    """Numbers as float64 and lists of numbers as they are; anything mixed as text, for the mapping to judge."""
    kinds = {type(value) for value in values if value is not None}
    if kinds and kinds <= {int, float} and float in kinds:
        return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds != {dict}:
        try:
            column = pa.array(values)
            return column.cast(pa.string()) if pa.types.is_null(column.type) else column
        except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
            pass  # of several types: told apart as text below
    text = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pa.array(text, pa.string())
