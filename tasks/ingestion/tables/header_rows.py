"""Rows of a table without types that are no samples but headers: the names once more, or what they stand for.

Files that were put one behind the other bring their header each time; surveys have the wording of each question, and
measurements have units, in a row or two below the names. As samples they would make a class of the label's name, and
words of a column of numbers or dates.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.dataset.encoders import cells
from tasks.dataset.targets.number import NUMBER
from tasks.dataset.targets.target import bools
from tasks.ingestion.readers import Reject
from tasks.ingestion.tables.profile import spellings
from tasks.ingestion.tables.table_rows import Batch

_NUMBER = re.compile(NUMBER)
AGAIN, BELOW = "header once more", "second header row"
# Rows below the header that may explain it: the question, and Qualtrics' import ids.
_MOST = 2
# Columns of values below words.
_COLUMNS = 2
# Rows that are looked at, and how many values of a column must agree to tell what it holds.
_LOOKED_AT, _ENOUGH = 200, 8


def without_header_rows(batches: Iterable[Batch], markers: Sequence[str]) -> Iterator[Batch]:
    """The batches of one file, of text, with rows that are headers rejected.

    Args:
        batches: of a file with a header.
        markers: cells that hold no value.
    """
    is_first = True
    for batch in batches:
        again = _is_header(batch.table)
        below = _explains_header(batch.table, markers) if is_first else 0
        is_first = is_first and not batch.table.num_rows
        if not below and not again.any():
            yield batch
            continue
        reasons = np.where(again, AGAIN, "").astype(object)
        reasons[:below] = BELOW
        keep = reasons == ""
        rejects = [
            Reject(int(batch.rows[place]), reasons[place], _shown(batch.table, int(place)))
            for place in np.flatnonzero(~keep)
        ]
        table = batch.table.filter(pa.array(keep, pa.bool_()))
        yield replace(batch, table=table, rows=batch.rows[keep], rejects=[*batch.rejects, *rejects])


def _shown(table: pa.RecordBatch, place: int) -> str:
    return ", ".join(str(column[place].as_py()) for column in table.columns)[:80]


def _is_header(table: pa.RecordBatch) -> np.ndarray:
    """Which rows say nothing but the columns' names; none of a table of one column."""
    is_header = np.full(table.num_rows, table.num_columns > 1)
    for name, column in zip(table.schema.names, table.columns, strict=True):
        if not is_header.any():
            break
        is_header &= bools(pc.equal(pc.utf8_trim_whitespace(column), name.strip()))
    return is_header


def _explains_header(table: pa.RecordBatch, markers: Sequence[str]) -> int:
    """How many of the first rows explain the header.

    They hold words alone, none of which stands in its column again, above two columns of numbers or of dates: above one
    a row may just lack its number.
    """
    if not table.num_rows or any(_NUMBER.match(column[0].as_py() or "") for column in table.columns):
        return 0  # as nearly always: told before all columns are looked at
    words = [_values(column, markers) for column in table.columns]
    for count in range(_MOST, 0, -1):
        heads, rests = [column.slice(0, count) for column in words], [column.slice(count) for column in words]
        if all(map(_says_nothing, heads)) or not all(map(_are_words, heads)) or not _each_row_says(heads):
            continue
        pairs = list(zip(heads, rests, strict=True))
        is_new = not any(bools(pc.is_in(head.drop_null(), value_set=rest)).any() for head, rest in pairs)
        above = sum(not head.null_count and _are_values(rest.slice(0, _LOOKED_AT)) for head, rest in pairs)
        if is_new and above >= _COLUMNS:
            return count
    return 0


def _values(column: pa.Array, markers: Sequence[str]) -> pa.Array:
    words = cells.trimmed(column)
    return pc.if_else(pc.is_in(words, value_set=spellings(tuple(markers))), pa.scalar(None, pa.string()), words)


def _says_nothing(words: pa.Array) -> bool:
    return words.null_count == len(words)


def _each_row_says(heads: Sequence[pa.Array]) -> bool:
    """Whether each row has two cells that hold anything: one alone is a cell that went wrong."""
    filled = sum(head.is_valid().to_numpy(zero_copy_only=False).astype(int) for head in heads)
    return bool(np.all(filled >= 2)) and len(heads[0]) > 0


def _are_words(words: pa.Array) -> bool:
    """Whether no cell is a number, a date, or yes or no."""
    words = words.drop_null()
    return not any(bools(read).any() for read in (*_read(words), cells.is_yes(words).is_valid()))


def _are_values(words: pa.Array) -> bool:
    """Whether enough cells, and all that hold anything, are numbers, or dates."""
    words = words.drop_null()
    return len(words) >= _ENOUGH and any(bool(pc.all(read).as_py()) for read in _read(words))


def _read(words: pa.Array) -> tuple[pa.Array, ...]:
    number = pc.match_substring_regex(words, NUMBER)
    return (*(pc.or_(number, cells.is_written(words, form)) for form in cells.FORMS), cells.looks_like_date(words))
