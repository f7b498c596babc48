"""The descriptions of views and columns as comments: COMMENT writes them into the catalogue's file."""

from __future__ import annotations

from collections.abc import Iterable

import duckdb

from tasks.catalogue.descriptions import COLUMNS, VIEWS
from tasks.catalogue.relations import quote_name
from tasks.core.sql import string

# All other columns of such a view are a detector's or the dataset's, whatever they are called.
_OURS = {
    "scores": {"run_id", "sample_id"},
    "data": {"sample_id", "source", "source_row", "split", "label", "clean_label", "group_name", "source_id"},
}
# A comment takes a third of a millisecond, and a dataset has up to thousands of columns in each of its versions.
_MOST = 128


def comment_on(db: duckdb.DuckDBPyConnection) -> None:
    """Write down what all views and columns are; of a wide view the first 128 columns."""
    views = db.execute("SELECT database_name, schema_name, view_name FROM duckdb_views() WHERE NOT internal").fetchall()
    columns = db.execute(
        """SELECT database_name, schema_name, table_name, column_name FROM duckdb_columns()
           WHERE NOT internal AND column_index <= $1""",
        [_MOST],
    ).fetchall()
    _write(db, [*views, *columns])


def comment_on_shards(db: duckdb.DuckDBPyConnection, columns: Iterable[str]) -> None:
    """The same of a run's shards alone: to ask DuckDB for their names looks through every view, at each connection."""
    shards = ("temp", "main", "shards")
    _write(db, [shards, *((*shards, column) for column in columns)])


def _write(db: duckdb.DuckDBPyConnection, names: Iterable[tuple[str, ...]]) -> None:
    comments = ((name, _of_column(*name[1:]) if name[3:] else _of_view(*name[1:])) for name in names)
    statements = (
        f"COMMENT ON {'COLUMN' if name[3:] else 'VIEW'} {'.'.join(map(quote_name, name))} IS {string(comment)};\n"
        for name, comment in comments
        if comment
    )
    # At once: each on its own would be flushed to the disk.
    db.execute("".join(("BEGIN;\n", *statements, "COMMIT;\n")))


def _of_view(schema: str, view: str) -> str | None:
    if schema == "data":
        return VIEWS["data@" if "@" in view else "data"]
    return VIEWS.get(view)


def _of_column(schema: str, view: str, column: str) -> str | None:
    view = "data" if schema == "data" else view
    open_ended = view in _OURS and column not in _OURS[view]
    return COLUMNS.get(f"{view}.{'*' if open_ended else column}", COLUMNS.get(column))
