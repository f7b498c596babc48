"""JSON: one object a line, read line by line, so that a malformed line rejects itself and nothing else; or an array."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from tasks.core.errors import BadInput
from tasks.ingestion.files.annotations import is_coco, refuse_coco
from tasks.ingestion.files.compression import UNPACKING_ERRORS
from tasks.ingestion.files.json_rows import Row, is_json, rows_of
from tasks.ingestion.files.nested_fields import Steps, has_several, parse, paths_of, value_at
from tasks.ingestion.files.source_files import SourceFile
from tasks.ingestion.readers import CHUNK_BYTES, CHUNK_ROWS, Reject, files_below
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.tables.table_rows import Batch

# Paths of an object's fields that are remembered, to be told.
_PATHS = 40
_ENOUGH = 1000
# Bytes of a number, as Python holds it in a list.
_NUMBER = 32


@dataclass
class _Keys:
    """The columns that all objects together have: their keys, and the fields within others that options name."""

    paths: dict[str, Steps]
    """What options name, and may be such fields."""
    one_value: frozenset[str]
    """Columns of which a list is no value either."""
    names: dict[str, None] = field(default_factory=dict)
    nested: dict[str, None] = field(default_factory=dict)
    within: dict[str, dict[str, None]] = field(default_factory=dict)
    """The paths of the values within objects, by column."""
    rows: int = 0
    seen: Counter[str] = field(default_factory=Counter)
    settled: set[str] = field(default_factory=set)
    """Columns of which enough was seen to know whether they are objects."""
    values_by_name: Counter[str] = field(default_factory=Counter)
    objects_by_name: Counter[str] = field(default_factory=Counter)
    several: Counter[str] = field(default_factory=Counter)
    """Rows in which a path takes one of several, by the path."""
    reject: Reject | None = None

    def add(self, item: dict[str, Any]) -> None:
        """Those of one more object."""
        self.rows += 1
        if not item.keys() <= self.settled:
            self.names |= dict.fromkeys(item)
            for key, value in item.items():
                self._look_within(key, value)
        for path, steps in self.paths.items():
            self.several[path] += path not in item and has_several(item, steps)
            value = None if path in item or path in self.settled else value_at(item, steps)
            if value is not None:
                self.nested[path] = None
                self._look_within(path, value)

    def _look_within(self, name: str, value: Any) -> None:
        self.seen[name] += 1
        if self.seen[name] == _ENOUGH:
            self.settled.add(name)
        self.values_by_name[name] += value is not None
        is_list = isinstance(value, list) and value and (isinstance(value[0], dict) or name in self.one_value)
        if isinstance(value, dict) or is_list:
            self.objects_by_name[name] += 1
            paths = self.within.setdefault(name, {})
            if len(paths) < _PATHS:
                paths |= dict.fromkeys(paths_of(value, name))

    def objects(self) -> dict[str, tuple[str, ...]]:
        """The columns that mostly are objects, each with the paths of the values within."""
        counts = self.objects_by_name.items()
        return {name: tuple(self.within[name]) for name, n in counts if 2 * n > self.values_by_name[name]}

    def notes(self) -> tuple[str, ...]:
        """What there is to tell of paths that leave some values out."""
        return tuple(
            f"{path}: {count:,} of {self.rows:,} rows have more there than the one that is read"
            for path, count in self.several.items()
            if count
        )

    def values(self, items: list[dict[str, Any]]) -> dict[str, list[Any]]:
        """The columns of some objects."""
        own = {name: [item.get(name) for item in items] for name in self.names}
        nested = [path for path in self.nested if path not in own]
        return own | {path: [value_at(item, self.paths[path]) for item in items] for path in nested}


class Jsonl(Tabular, kind="jsonl"):
    """One JSON object a line, or one array of objects; a key that an object lacks is a missing value."""

    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson", ".json")
    packed: ClassVar[bool] = True

    def carried_type(self, kind: pa.DataType) -> pa.DataType:
        """JSON has no schema: a carried value may change its type from line to line."""
        return pa.string()

    def input_type(self, kind: pa.DataType, width: int) -> pa.DataType:
        """JSON has one type of number, and the next one may have a fraction."""
        return pa.float64() if not pa.types.is_list(kind) else pa.list_(pa.float64(), width)

    def batches(self, path: Path) -> Iterator[Batch]:
        """Batches of a file, or of the files of a folder."""
        files = [SourceFile(file, file.name) for file in files_below(path)]
        return (batch for _, batch in self.batches_of(files))

    def batches_of(self, files: Sequence[SourceFile]) -> Iterator[tuple[SourceFile, Batch]]:
        """Two passes: every key of any object is a column; numbers and lists of numbers keep their types."""
        keys = self._keys()
        for file in files:
            self._look_through(file.path, keys)
        if files and not keys.names:
            raise BadInput(
                where=str(files[0].path),
                expected="one JSON object a line, or an array of objects",
                got=keys.reject.detail if keys.reject else "nothing",
                do='Write each row as an object: {"text": …, "label": …}.',
            )
        if keys.rows == 1 and is_coco(keys.names):
            refuse_coco(files[0].path)
        if keys.rows == 1 and keys.within:
            raise _one_object(files[0].path, keys)
        for file in files:
            for batch in self._read(file.path, keys):
                yield file, batch

    def _keys(self) -> _Keys:
        names = (*(name for _, name in self.named), *([self.test_label] if self.test_label else []))
        single = (self.label, self.clean_label, self.test_label, self.id, self.group, self.split, self.weights)
        is_class = self.target in ("class", "number")
        return _Keys(
            {name: parse(name) for name in names if len(parse(name)) > 1},
            frozenset(name for name in single if name is not None) if is_class else frozenset(),
        )

    def _look_through(self, file: Path, keys: _Keys) -> None:
        with _readable(file):
            for _, item in rows_of(file):
                if isinstance(item, Reject):
                    keys.reject = keys.reject or item
                    continue
                keys.add(item)
                if self.limit is not None and keys.rows > self.limit:
                    return

    def _read(self, file: Path, keys: _Keys) -> Iterator[Batch]:
        sets = partial(_sets, self.separator)
        others = dict.fromkeys((self.label, self.clean_label or self.label), sets) if self.target == "labels" else {}
        objects = keys.objects()
        as_json = set(objects).difference(name for _, name in self.named)
        with _readable(file):
            for block in _blocks(rows_of(file)):
                items = [(number, item) for number, item in block if not isinstance(item, Reject)]
                values = keys.values([item for _, item in items])
                columns = {
                    name: _objects(column) if name in as_json else others.get(name, _column)(column)
                    for name, column in values.items()
                }
                yield Batch(
                    file.name,
                    pa.RecordBatch.from_pydict(columns),
                    np.array([number for number, _ in items], np.int64),
                    [item for _, item in block if isinstance(item, Reject)],
                    notes=keys.notes(),
                    objects=objects,
                    nested=frozenset(name for name in values if _is_json(values[name], columns[name])),
                )


def _blocks(rows: Iterator[Row]) -> Iterator[list[Row]]:
    """Consecutive rows, as many as one chunk takes."""
    block: list[Row] = []
    weight = 0
    for number, item in rows:
        block.append((number, item))
        weight += 0 if isinstance(item, Reject) else sum(map(_weight, item.values()))
        if len(block) == CHUNK_ROWS or weight >= CHUNK_BYTES:
            yield block
            block, weight = [], 0
    if block:
        yield block


def _weight(value: Any, depth: int = 8) -> int:
    """Bytes of a value, about: the first one of a list stands for all, and so deep within others none counts."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict) and depth:
        return sum(_weight(part, depth - 1) for part in value.values())
    if isinstance(value, list) and value and depth:
        return len(value) * _weight(value[0], depth - 1)
    return _NUMBER


def _is_json(values: list[Any], column: pa.Array) -> bool:
    """Whether lists or objects stand in a column as their JSON."""
    as_text = pa.types.is_string(column.type) or isinstance(column.type, pa.BaseExtensionType)
    return as_text and any(isinstance(value, list | dict) for value in values)


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except (*UNPACKING_ERRORS, UnicodeError) as error:
        raise BadInput(
            where=str(file),
            expected="JSON, compressed as its suffix says",
            got=str(error).partition("\n")[0],
            do="Fetch or write the file again.",
        ) from error


def _one_object(file: Path, keys: _Keys) -> BadInput:
    """A file that is one object: rows stand within it, or its columns do."""
    key = next(iter(keys.within))
    return BadInput(
        where=str(file),
        expected="one JSON object a line, or an array of objects",
        got=f"one object with {', '.join(list(keys.names)[:8])}",
        do=f"Rows within it: jq -c '.{key}[]' {shlex.quote(file.name)} > rows.jsonl. Columns within it, as pandas "
        "writes them: table.to_json(path, orient='records', lines=True).",
    )


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


def _objects(values: list[Any]) -> pa.Array:
    """Objects as JSON, and of a type that says so: their text is no category."""
    text = [value if value is None or _is_text_of_json(value) else json.dumps(value) for value in values]
    return pa.ExtensionArray.from_storage(pa.json_(), pa.array(text, pa.string()))


def _is_text_of_json(value: Any) -> bool:
    return isinstance(value, str) and is_json(value)


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
