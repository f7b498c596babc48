"""Inputs that tell the label by themselves: a copy of it under another name, or what is written down only after it."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pyarrow as pa

from tasks.core.sql import connect
from tasks.ingestion.spool import Spool
from tasks.ingestion.tables.roles import Column

# Of the training rows, told right by the value of one column; and rows for each of its values, so that it is no chance.
_TELLS, _ROWS_A_VALUE = 0.999, 5
LEAK = "tells the label by itself"


def with_leaks(columns: list[Column], stored: dict[str, str], spool: Spool) -> list[Column]:
    """The columns, and of those that tell the label that they do.

    Args:
        columns: as they are told.
        stored: what a sample calls each of them.
        spool: the rows, with their splits and labels.
    """
    # Rows of classes that nobody can learn are counted too.
    with replace(spool, dropped=frozenset()).training_cells() as cells_of, connect(spool.path.parent) as db:
        labels = pa.chunked_array(list(cells_of("label")), pa.string())
        if not len(labels) or _told_right(db, [pa.repeat(1, len(labels))], labels) >= _TELLS * len(labels):
            return columns
        return [
            replace(column, why=f"{column.why}; {LEAK}")
            if _may_tell(column, len(labels))
            and _told_right(db, list(cells_of(stored[column.name])), labels) >= _TELLS * len(labels)
            else column
            for column in columns
        ]


def _may_tell(column: Column, rows: int) -> bool:
    distinct = column.distinct_values or 0
    return column.is_input and 1 < distinct * _ROWS_A_VALUE <= rows


def _told_right(db: duckdb.DuckDBPyConnection, values: list[pa.Array], labels: pa.ChunkedArray) -> int:
    """Rows whose label is the commonest one of their value.

    The query sees these two columns and no other: to name one of ten thousand takes as long as to count it.
    """
    db.register("cells", pa.table({"value_": pa.chunked_array(values), "label_": labels}))
    return db.execute(
        """SELECT sum(most) FROM (
               SELECT max(n) AS most
               FROM (SELECT value_, label_, count(*) AS n FROM cells GROUP BY ALL)
               GROUP BY value_)"""
    ).fetchall()[0][0]
