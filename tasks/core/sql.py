"""SQL as files: the decisions and the catalogue are read, reviewed and tested as SQL."""

from __future__ import annotations

import os
import re
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


@contextmanager
def connect(scratch: Path, memory: int = SQL_MEMORY) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory whose queries hold no more than so much, and write the rest to disk meanwhile.

    (DuckDB's own limit is four fifths of the machine, whatever else runs there.) All connections to a folder share
    theirs, and so its memory, as long as any of them is open. What they are to see alone is temporary.

    Args:
        scratch: a folder; what is written there is gone when the last connection to it is closed.
        memory: bytes; DuckDB cannot do with less than 64 MiB a thread.
    """
    threads = max(1, min(_THREADS, os.cpu_count() or 1, memory // _THREAD_MEMORY))
    limit = max(memory, threads * _THREAD_MEMORY) >> 20
    with _DATABASES.one_for(str(scratch / ".sql"), limit, threads) as database, database.cursor() as db:
        yield db


class _Databases:
    """The open databases. To make one takes 15 ms of a processor, to connect to one a hundredth of one.

    So the last of each size waits for the next folder, empty, when nobody is connected to it any more.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        # (folder, MiB, threads) → how many are connected, and to what.
        self._used: dict[tuple[str, int, int], tuple[int, duckdb.DuckDBPyConnection]] = {}
        self._spare: dict[tuple[int, int], duckdb.DuckDBPyConnection] = {}

    @contextmanager
    def one_for(self, folder: str, limit: int, threads: int) -> Iterator[duckdb.DuckDBPyConnection]:
        """The database of a folder for temporary files, MiB and threads; it need not be there, but the one it is in."""
        key = folder, limit, threads
        with self._lock:
            count, database = self._used.get(key, (0, None))
            if database is None:
                database = self._spare.pop((limit, threads), None) or _made(limit, threads)
                database.execute(f"SET temp_directory = {string(folder)}")
            self._used[key] = count + 1, database
        try:
            yield database
        finally:
            with self._lock:
                count, _ = self._used.pop(key)
                if count > 1:
                    self._used[key] = count - 1, database
                elif (limit, threads) in self._spare or not _is_as_new(database):
                    database.close()
                else:
                    self._spare[limit, threads] = database


def _made(limit: int, threads: int) -> duckdb.DuckDBPyConnection:
    import duckdb

    settings = {"memory_limit": f"{limit}MiB", "threads": threads, "temp_directory": ""}
    return duckdb.connect(":memory:", config=settings)


def _is_as_new(database: duckdb.DuckDBPyConnection) -> bool:
    """Whether it has written no temporary file, which goes when it is closed, and nothing is left in it."""
    import duckdb

    try:
        database.execute("SET temp_directory = ''")
        left = "SELECT count(*) FROM duckdb_tables() UNION ALL SELECT count(*) FROM duckdb_views() WHERE NOT internal"
        return not any(count for (count,) in database.execute(left).fetchall())
    except duckdb.Error:
        return False


def _forget() -> None:
    """In a process that was forked: it has none of the threads of what was open, which is left alone for good."""
    global _DATABASES
    _OF_THE_PARENT.append(_DATABASES)
    _DATABASES = _Databases()


_DATABASES, _OF_THE_PARENT = _Databases(), list[_Databases]()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


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
