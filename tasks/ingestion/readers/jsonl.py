"""JSON lines: one object a line, read line by line, so that a malformed line rejects itself and nothing else."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tasks.core.errors import BadInput
from tasks.ingestion.readers import CHUNK_ROWS, Reject, files_below
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.table_rows import Batch


class Jsonl(Tabular, kind="jsonl"):
    """One JSON object a line (.gz too); a key that a line lacks is a missing value."""

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    def carried_type(self, kind: pa.DataType) -> pa.DataType:
        """JSON has no schema: a carried value may change its type from line to line."""
        return pa.string()

    def input_type(self, kind: pa.DataType, width: int) -> pa.DataType:
        """JSON has one type of number, and the next one may have a fraction."""
        return pa.float64() if not pa.types.is_list(kind) else pa.list_(pa.float64(), width)

    def batches(self, path: Path) -> Iterator[Batch]:
        """Batches with the columns of the first one; numbers and lists of numbers keep their types."""
        names: list[str] = []
        sets = partial(_sets, self.separator)
        columns = dict.fromkeys((self.label, self.clean_label or self.label), sets) if self.target == "labels" else {}
        for file in files_below(path):
            try:
                yield from _read(file, names, columns)
            except (OSError, EOFError, zlib.error) as error:
                raise BadInput(
                    where=str(file),
                    expected="JSON lines, gzipped if named so",
                    got=str(error),
                    do="Fetch or write the file again.",
                ) from error


def _read(file: Path, names: list[str], others: dict[str, Callable[[list[Any]], pa.Array]]) -> Iterator[Batch]:
    """Batches of one file; ``others`` are columns that are made otherwise than by what stands in them."""
    with gzip.open(file, "rb") if file.suffix == ".gz" else file.open("rb") as lines:
        lines_by_number = enumerate(lines)
        while block := list(islice(lines_by_number, CHUNK_ROWS)):
            objects, rows, rejects = _parse(block)
            # The first block fixes the columns; every later one has the same.
            names.extend(dict.fromkeys(key for item in objects for key in item) if not names else ())
            if not names:
                raise BadInput(
                    where=str(file),
                    expected="one JSON object a line",
                    got=rejects[0].detail if rejects else "blank lines",
                    do="A file that is one JSON array must be rewritten, one element a line.",
                )
            columns = [others.get(name, _column)([item.get(name) for item in objects]) for name in names]
            # Keys that come later are no columns: they are there to be told, without their values.
            late = sorted({key for item in objects for key in item}.difference(names))
            columns += [pa.nulls(len(objects))] * len(late)
            table = pa.RecordBatch.from_arrays(columns, names=[*names, *late])
            nested = {name for item in objects for name, value in item.items() if isinstance(value, list | dict)}
            as_text = frozenset(name for name in nested if pa.types.is_string(table.schema.field(name).type))
            yield Batch(file.name, table, rows, rejects, nested=as_text)


def _parse(block: list[tuple[int, bytes]]) -> tuple[list[dict[str, Any]], np.ndarray, list[Reject]]:
    objects, rows, rejects = [], [], []
    for number, line in block:
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            if b"\\ud" in line.lower() or b"\xed" in line:
                json.dumps(item, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError) as error:
            rejects.append(Reject(number, "malformed line", f"{error}: {line[:80]!r}"))
            continue
        if not isinstance(item, dict):
            rejects.append(Reject(number, "malformed line", f"a {type(item).__name__}, not an object: {line[:80]!r}"))
            continue
        objects.append(item)
        rows.append(number)
    return objects, np.array(rows, np.int64), rejects


def _column(values: list[Any]) -> pa.Array:
    """Integers, or numbers as float64, or lists of numbers; anything mixed as text, for the mapping to judge."""
    kinds = {type(value) for value in values if value is not None}
    if list in kinds and 2 * sum(map(_is_vector, values)) > sum(value is not None for value in values):
        # A value that is no list of numbers has the wrong length: its row is rejected, not the column.
        vectors = [value if value is None or _is_vector(value) else [] for value in values]
        return pa.array(vectors, pa.list_(pa.float64()))
    try:
        if kinds and kinds <= {int, float}:
            return pa.array(values, pa.int64()) if kinds == {int} else pa.array(values, pa.float64())
        if kinds in ({bool}, {str}):
            return pa.array(values)
    except (pa.ArrowInvalid, OverflowError):
        pass  # beyond 64 bits: text
    text = [value if value is None or isinstance(value, str) else json.dumps(value) for value in values]
    return pa.array(text, pa.string())


def _sets(separator: str, values: list[Any]) -> pa.Array:
    """Lists of labels, each as text, whatever it is; a text lists them with the separator between."""

    def labels_of(value: Any) -> list[str | None] | None:
        if isinstance(value, str):
            return [*value.split(separator)]
        if not isinstance(value, list):
            return None if value is None else [json.dumps(value)]
        return [one if one is None or isinstance(one, str) else json.dumps(one) for one in value]

    return pa.array([labels_of(value) for value in values], pa.list_(pa.string()))


def _is_vector(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > 0
        and all(v is None or isinstance(v, float) or (type(v) is int and abs(v) < 2**63) for v in value)
    )
