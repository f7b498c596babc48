"""Inputs that tell the label by themselves: a copy of it under another name, or what is written down only after it."""

from __future__ import annotations

from dataclasses import replace

import duckdb
import pyarrow.parquet as pq

from tasks.core.sql import literal
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
    names = pq.read_schema(spool.path).names
    aliases = ", ".join([*(f"c{i}" for i in range(len(names))), "place"])
    with spool.connect() as db:
        db.execute(
            f"""CREATE VIEW rows_ AS SELECT cells.*
                FROM read_parquet({literal(spool.path)}, file_row_number = true) AS cells({aliases})
                JOIN splits ON splits.place = cells.place WHERE splits.split = 'train'"""
        )
        label = f"c{names.index('label')}"
        total = db.execute("SELECT count(*) FROM rows_").fetchall()[0][0]
        if not total or _told_right(db, "1", label) >= _TELLS * total:
            return columns
        return [
            replace(column, why=f"{column.why}; {LEAK}")
            if _may_tell(column, total)
            and _told_right(db, f"c{names.index(stored[column.name])}", label) >= _TELLS * total
            else column
            for column in columns
        ]


def _may_tell(column: Column, rows: int) -> bool:
    distinct = column.distinct_values or 0
    return column.is_input and 1 < distinct * _ROWS_A_VALUE <= rows


def _told_right(db: duckdb.DuckDBPyConnection, value: str, label: str) -> int:
    """Rows whose label is the commonest one of their value."""
    return db.execute(
        f"""SELECT sum(most) FROM (
                SELECT max(n) AS most
                FROM (SELECT {value} AS value_, {label} AS label_, count(*) AS n FROM rows_ GROUP BY ALL)
                GROUP BY value_)"""
    ).fetchall()[0][0]
