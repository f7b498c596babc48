"""The catalogue: one DuckDB file of plain views over every run and version in the lake.

The views (tasks/catalogue/views.py) name files by absolute glob patterns, so a new run shows in them by itself; the
file is rebuilt only when its text changes (a newest run, a version, a tag, a new detector's column, a moved lake). It
is built aside and renamed: a client that has the old one open keeps reading it, and no writer ever waits for a reader.
Written in DuckDB 1.x's storage format, so that 1.x clients open it too.
"""

from __future__ import annotations

import hashlib
import os
import socket
import uuid
from pathlib import Path

import duckdb
import pyarrow as pa

from tasks.catalogue.comments import comment_on, comment_on_shards
from tasks.catalogue.descriptions import COLUMNS, VIEWS
from tasks.catalogue.relations import has
from tasks.catalogue.views import COMPARISONS, RUNS, definition
from tasks.core.errors import BadArtefact, BadInput
from tasks.pipeline.durable_files import PARTIAL, fsync
from tasks.pipeline.recorded_run import no_run
from tasks.pipeline.stored_names import is_name

NAME = "catalogue.duckdb"


def build(lake: Path) -> bool:
    """Bring ``<lake>/catalogue.duckdb`` up to date; True when it was written anew."""
    lake = lake.resolve()
    statements = definition(lake)
    if _signature(lake / NAME) == _digest(statements):
        return False
    # Again while runs are being recorded: of two that build at once, the later must not leave the older text.
    while True:
        refusal = None
        try:
            _write(lake, statements)
        except duckdb.IOException as error:  # a file that a view names was cleared away since it was looked for
            refusal = error
        newer = definition(lake)
        if newer == statements and refusal:
            raise refusal
        if newer == statements:
            return True
        statements = newer


def _write(lake: Path, statements: str) -> None:
    aside = lake / f"{PARTIAL}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{NAME}"
    try:
        _write_aside(aside, statements)
        fsync(aside)
        aside.replace(lake / NAME)
        fsync(lake)
    finally:
        for path in (aside, aside.with_name(f"{aside.name}.wal")):
            path.unlink(missing_ok=True)


def _write_aside(aside: Path, statements: str) -> None:
    with duckdb.connect(str(aside), config={"storage_compatibility_version": "v1.2.0"}) as db:
        # At once: each view on its own would be flushed to the disk.
        db.execute(f"BEGIN;\n{statements}COMMIT;\n")
        db.execute("CREATE TABLE about AS SELECT ? AS signature", [_digest(statements)])
        db.execute("COMMENT ON TABLE about IS 'What the views were written from.'")
        comment_on(db)
        db.execute("CHECKPOINT")


def connect(
    lake: Path, run_id: str | None = None, *, need_run: bool = True, for_query: str | None = None
) -> duckdb.DuckDBPyConnection:
    """The catalogue, read-only, with ``shards``: one run's gradients or factors (default: the newest's), by Arrow.

    With ``need_run`` false a lake that holds comparisons and no run will do; it has no ``shards``. Nor is there any
    where all that will be asked is a query that does not see them: to open them imports pandas, which nothing else here
    needs, and takes longer than most queries.

    Raises:
        BadInput: nothing has been recorded in this lake, or no such run.
        BadArtefact: the lake is damaged.
    """
    lake = lake.expanduser().resolve()
    if not has(lake, RUNS):
        if not need_run and run_id is None and has(lake, COMPARISONS):
            return _open(lake)
        raise BadInput(
            where=str(lake),
            expected="a recorded run",
            got="none",
            do="Run gradsieve clean first, or name the lake with --lake.",
        )
    db = _open(lake)
    if run_id is None:
        newest = db.execute("SELECT run_id FROM runs ORDER BY recorded DESC LIMIT 1").fetchall()
        run_id = str(newest[0][0]) if newest else ""
    folder = lake / "runs" / run_id / "gradients"
    if not is_name(run_id) or not folder.is_dir():
        raise no_run(lake, run_id)
    shards = sorted(str(path) for path in folder.glob("*.arrow"))
    if not shards or not _sees_shards(for_query):
        return db  # cleared away with the run's versions, or not asked for
    try:
        schema = pa.ipc.open_file(shards[0]).schema
    except (pa.ArrowInvalid, OSError) as error:
        raise BadArtefact(
            where=shards[0],
            expected="gradients as the run wrote them",
            got=str(error),
            do="gradsieve versions verify says what else was altered; ask of another run with --run.",
        ) from error
    import pyarrow.dataset as ds

    db.register("shards", ds.dataset(shards, schema=_readable(schema), format="arrow"))
    comment_on_shards(db, schema.names)
    return db


def _sees_shards(query: str | None) -> bool:
    """Whether a query may name them, or asks which views there are."""
    words = ("shards", "show", "information_schema", "duckdb_", "pragma")
    return query is None or any(word in query.lower() for word in words)


def _readable(schema: pa.Schema) -> pa.Schema:
    """DuckDB cannot read half floats, nor anything beside them: Arrow widens them on the way."""
    for index, field in enumerate(schema):
        if pa.types.is_fixed_size_list(field.type) and pa.types.is_float16(field.type.value_type):
            schema = schema.set(index, field.with_type(pa.list_(pa.float32(), field.type.list_size)))
    return schema


def _open(lake: Path) -> duckdb.DuckDBPyConnection:
    """The lake's catalogue if its file is up to date, else the same views in memory: a copied or moved lake would
    otherwise answer from where it was."""
    try:
        text = definition(lake)
        if _signature(lake / NAME) == _digest(text):
            return duckdb.connect(str(lake / NAME), read_only=True)
        db = duckdb.connect()
        db.execute(text)
        comment_on(db)
        return db
    except (duckdb.Error, ValueError, OSError) as error:
        raise BadArtefact(
            where=str(lake),
            expected="runs and versions as they were written",
            got=str(error).partition("\n")[0],
            do="Something in the lake was deleted or damaged; gradsieve clean makes what is missing anew.",
        ) from error


def _digest(statements: str) -> str:
    """Of all that the file says: its comments too."""
    return hashlib.sha256(f"{statements}{VIEWS}{COLUMNS}".encode()).hexdigest()


def _signature(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        with duckdb.connect(str(path), read_only=True) as db:
            return db.execute("SELECT signature FROM about").fetchall()[0][0]
    except (duckdb.Error, IndexError):
        return None  # damaged or of another kind: it is only views, and is written anew
