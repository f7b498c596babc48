"""Files of the lake as tables of SQL: by a pattern, with the columns they are to have, whatever files there are."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.sql import literal, string

# What the views call columns of files whose names are words of SQL and would have to be quoted.
SHOWN_AS = {
    "row": "source_row", "group": "group_name", "by": "level",
    "new": "new_samples", "settled": "base_samples", "share_settled": "share_base",
}  # fmt: skip


def has(lake: Path, pattern: str) -> bool:
    """Whether any file of a lake is so named."""
    return next(lake.glob(pattern), None) is not None


def json(lake: Path, pattern: str, columns: dict[str, str]) -> str:
    """JSON documents as a table with the columns ``columns`` and ``__file``; no rows where there is none yet."""
    if not has(lake, pattern):
        return _empty_relation(columns)
    types = ", ".join(f"{quote_name(name)}: '{kind}'" for name, kind in columns.items())
    return f"read_json({literal(lake, pattern)}, format = 'auto', filename = '__file', columns = {{{types}}})"


def parquet(lake: Path, pattern: str, schema: pa.Schema) -> str:
    """Parquet files as a table with the columns of ``schema``, as they are shown, and ``__file``; no rows where there
    is none yet."""
    columns = _types(schema)
    if not has(lake, pattern):
        return _empty_relation({SHOWN_AS.get(name, name): kind for name, kind in columns.items()})
    # As one string that is cast: a literal of as many structs takes DuckDB .8 ms longer to bind, at every query.
    fields = ", ".join(
        f"{_quoted(name)}={{name: {_quoted(SHOWN_AS.get(name, name))}, type: {_quoted(kind)}, default_value: NULL}}"
        for name, kind in columns.items()
    )
    schema = f"{string(f'{{{fields}}}')}::MAP(VARCHAR, STRUCT(name VARCHAR, type VARCHAR, default_value VARCHAR))"
    return f"read_parquet({literal(lake, pattern)}, filename = '__file', schema = {schema})"


def _quoted(text: str) -> str:
    """A string inside of one that is cast."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _empty_relation(columns: dict[str, str]) -> str:
    nulls = ", ".join(f"NULL::{kind} AS {quote_name(name)}" for name, kind in columns.items())
    return f"(SELECT {nulls}, NULL::VARCHAR AS __file WHERE false)"


def _types(schema: pa.Schema) -> dict[str, str]:
    return _types_of(schema.serialize().to_pybytes())


@cache
def _types_of(schema_bytes: bytes) -> dict[str, str]:
    """Column → DuckDB's own name for its type."""
    schema = pa.ipc.read_schema(pa.py_buffer(schema_bytes))
    with _empty_database().cursor() as db:
        relation = db.from_arrow(schema.empty_table())
        return {name: str(kind) for name, kind in zip(relation.columns, relation.types, strict=True)}


@cache
def _empty_database() -> duckdb.DuckDBPyConnection:
    """One that is asked for the names of types: to open another for each of twenty schemas takes half a second."""
    return duckdb.connect()


def columns_of(lake: Path, pattern: str) -> list[str]:
    """Columns that some file has, in the order they were first seen."""
    columns: dict[str, None] = {}
    for path in sorted(lake.glob(pattern)):
        columns |= dict.fromkeys(pq.read_schema(path).names)
    return list(columns)


def quote_name(name: str) -> str:
    """A name of SQL, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'
