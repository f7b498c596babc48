"""Sets of labels that a table keeps as a column of yes and no for each label."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadInput
from tasks.dataset.encoders.cells import is_yes
from tasks.dataset.targets.labels import NOTHING
from tasks.dataset.targets.target import bools
from tasks.ingestion.readers import Reject
from tasks.ingestion.tables.columns import as_text
from tasks.ingestion.tables.profile import without_markers
from tasks.ingestion.tables.table_rows import Batch


def label_columns(label: str, names: list[str]) -> tuple[str, ...]:
    """The columns that an option names in one, with commas between; none where it is the name of a column itself.

    Args:
        label: as the option has it.
        names: of the source's columns.
    """
    (parts,) = csv.reader([label], skipinitialspace=True)
    return tuple(parts) if label not in names and len(parts) > 1 and set(parts) <= set(names) else ()


def with_label_sets(
    batch: Batch, columns: tuple[str, ...], name: str, separator: str, markers: tuple[str, ...] = ()
) -> Batch:
    """A batch with one column of sets in place of a column for each label.

    A missing cell says no; a row in which every cell is missing has no label at all.

    Args:
        batch: of the source.
        columns: one for each label: 1 and 0, yes and no, true and false.
        name: of the new column.
        separator: between the labels of a set.
        markers: cells that hold no value, beside empty ones.

    Raises:
        BadInput: a file lacks a column, or a label would be read as two.
    """
    missing = sorted(set(columns) - set(batch.table.schema.names))
    torn = next((column for column in columns if separator in column), None)
    if missing:
        raise BadInput(
            where=batch.source,
            expected=f"columns {', '.join(columns)}, one for each label",
            got=f"none called {', '.join(missing)}",
            do="Give every file the same columns.",
        )
    if torn is not None:
        raise BadInput(
            where=batch.source,
            expected=f"names of label columns without {separator!r}",
            got=repr(torn),
            do="Choose another --reader.separator.",
        )
    given = [without_markers(as_text(batch.table.column(column)), (*markers, "nan")) for column in columns]
    cells = [pc.replace_substring_regex(column, r"\.0+$", "") for column in given]
    said = [is_yes(column) for column in cells]
    members = np.stack([bools(pc.fill_null(yes, fill_value=False)) for yes in said], axis=1)
    row, column = np.nonzero(members)
    offsets = pa.array(np.searchsorted(row, np.arange(len(members) + 1)), pa.int32())
    names = pa.array(columns, pa.string()).take(pa.array(column))
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, names), separator)
    sets = pc.if_else(pc.equal(joined, ""), NOTHING, joined)
    has_none = np.all([bools(pc.is_null(cell)) for cell in cells], axis=0)
    sets = pc.if_else(pa.array(has_none), pa.scalar(None, pa.string()), sets)
    pairs = zip(said, cells, strict=True)
    odd = np.any([bools(pc.and_(pc.is_null(yes), pc.is_valid(column))) for yes, column in pairs], axis=0)
    rejects = [Reject(int(row), "neither yes nor no", f"label columns {', '.join(columns)}") for row in batch.rows[odd]]
    keep = pa.array(~odd)
    table = batch.table.drop_columns(list(columns)).append_column(name, sets).filter(keep)
    note = f"labels are sets of the columns {', '.join(columns)}"
    return replace(
        batch, table=table, rows=batch.rows[~odd], rejects=[*batch.rejects, *rejects], notes=(*batch.notes, note)
    )
