"""Columns that name pictures otherwise than by a path from the table's folder: by ids, or as another machine does."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import os
import re
from collections.abc import Collection
from contextlib import suppress

import pyarrow as pa
import pyarrow.compute as pc

from tasks.ingestion.files.picture_files import PICTURES, suffix_of
from tasks.ingestion.tables.columns import is_text
from tasks.ingestion.tables.picture_cells import Beside, NoPicture

_LOOKED_AT = 32
# What ids are made of; a number with a fraction is none.
_ID = re.compile(r"[\w\- ]{1,128}")


def named_by_ids(table: pa.RecordBatch, but: Collection[str], beside: Beside | None) -> list[str]:
    """The columns of different ids under which pictures lie beside the table, without their suffixes.

    Args:
        table: its first rows.
        but: columns that are something else.
        beside: where the pictures lie.
    """
    if beside is None or not _holds_pictures(beside):
        return []
    pairs = zip(table.schema.names, table.columns, strict=True)
    return [name for name, column in pairs if name not in but and is_text(column.type) and _are_ids(column, beside)]


def ids_note(columns: list[str]) -> str:
    """What there is to tell of pictures that ids name, where other columns may be inputs as well."""
    return (
        f"pictures beside the table have the names that stand in {columns[0]}: --reader.image {columns[0]} reads them"
    )


def foreign_note(column: pa.Array, beside: Beside | None) -> tuple[str, ...]:
    """What there is to tell of paths that lead from the root of another machine's disk, by the first cells."""
    cells = _first(column) if beside and is_text(column.type) else []
    name = next((cell for cell in cells if beside and suffix_of(cell) in PICTURES and beside.is_foreign(cell)), None)
    if name is None or beside is None:
        return ()
    with suppress(NoPicture):
        found = os.path.relpath(os.path.realpath(beside.locate(name)), beside.root)
        return (f"paths of another place are read by their ends, in the folder of the table: {name} as {found}",)
    return ()


def _first(column: pa.Array) -> list[str]:
    return [cell for cell in column.slice(0, 4 * _LOOKED_AT).to_pylist() if cell][:_LOOKED_AT]


def _are_ids(column: pa.Array, beside: Beside) -> bool:
    cells = _first(column)
    if len(cells) < 2 or pc.count_distinct(column).as_py() < len(column) or not all(map(_ID.fullmatch, cells)):
        return False
    try:
        return all(beside.locate(cell).is_file() for cell in cells)
    except (OSError, ValueError):
        return False


def _holds_pictures(beside: Beside) -> bool:
    """Whether some picture lies where names lead."""
    for folder in beside.folders:
        with suppress(OSError), os.scandir(folder) as entries:
            if any(suffix_of(entry.name) in PICTURES for entry in entries):
                return True
    return False
