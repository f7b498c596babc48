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

_NAMES = {
    "string": "VARCHAR",
    "bool": "BOOLEAN",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "timestamp[us]": "TIMESTAMP",
}


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
    """Column → DuckDB's own name for its type."""
    return {field.name: _type_name(field.type) or _asked(field.type) for field in schema}


def _type_name(kind: pa.DataType) -> str | None:
    """Of the types that a lake has; None of others. To ask DuckDB of an Arrow type imports pandas."""
    if pa.types.is_list(kind):
        inner = _type_name(kind.value_type)
        return inner and f"{inner}[]"
    if pa.types.is_map(kind):
        key, value = _type_name(kind.key_type), _type_name(kind.item_type)
        return f"MAP({key}, {value})" if key and value else None
    return _NAMES.get(str(kind))


@cache
def _asked(kind: pa.DataType) -> str:
    with _empty_database().cursor() as db:
        return str(db.from_arrow(pa.table([pa.array([], kind)], ["column"])).types[0])


@cache
def _empty_database() -> duckdb.DuckDBPyConnection:
    """One that is asked for the names of types: to open another takes longer than to ask."""
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
