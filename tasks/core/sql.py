"""SQL as files: the decisions and the catalogue are read, reviewed and tested as SQL."""

from __future__ import annotations

import os
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import duckdb
    import pyarrow as pa

    Source = pa.Table | Sequence[Path]
    """A table, or the Parquet files it stands in, of which a query holds no more than it needs at a time."""

SQL_MEMORY = 1 << 28
"""Bytes that a query holds unless a run's memory_gib says otherwise."""
# Each thread sorts and groups in memory of its own.
_THREADS, _THREAD_MEMORY = 4, 1 << 26


def query(name: str) -> str:
    """The text of ``tasks/<name>.sql``: a room and a file in it."""
    return (files("tasks") / f"{name}.sql").read_text(encoding="utf-8")


def connect(scratch: Path, memory: int = SQL_MEMORY) -> duckdb.DuckDBPyConnection:
    """A database in memory whose queries hold no more than so much, and write the rest to disk meanwhile.

    (DuckDB's own limit is four fifths of the machine, whatever else runs there.) To make a database takes 12 ms, to
    connect to one that is open a fraction of one: all connections to a folder share theirs, and so its memory, as long
    as any of them is open. What they are to see alone is temporary.

    Args:
        scratch: a folder; what is written there is gone when the connection is closed.
        memory: bytes; DuckDB cannot do with less than 64 MiB a thread.
    """
    import duckdb

    threads = max(1, min(_THREADS, os.cpu_count() or 1, memory // _THREAD_MEMORY))
    limit = max(memory, threads * _THREAD_MEMORY) >> 20
    settings = {"memory_limit": f"{limit}MiB", "threads": threads, "temp_directory": str(scratch / ".sql")}
    return duckdb.connect(f":memory:{scratch}, {limit}, {threads}", config=settings)


def register(db: duckdb.DuckDBPyConnection, **sources: Source) -> None:
    """Give a query the tables that it names."""
    import pyarrow as pa

    for name, source in sources.items():
        if isinstance(source, pa.Table):
            db.register(name, source)
        else:
            db.execute(f"CREATE TEMP VIEW {name} AS FROM read_parquet([{', '.join(map(literal, source))}])")


def identifier(name: str) -> str:
    """A name of SQL."""
    return '"' + name.replace('"', '""') + '"'


def string(value: str) -> str:
    """A string of SQL."""
    return "'" + value.replace("'", "''") + "'"


def literal(folder: Path, pattern: str = "") -> str:
    """An SQL string for DuckDB's readers: ``folder`` as it is, whatever characters it holds, then a glob pattern."""
    exact = re.sub(r"([*?\[])", r"[\1]", str(folder))
    return string(f"{exact}/{pattern}".rstrip("/"))
