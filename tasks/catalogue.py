"""The catalogue: one DuckDB file of plain views over every run and version in the lake.

The views name files by absolute glob patterns, so a new run shows in them by itself; the file is rebuilt only when its
text changes (a new detector's column, a moved lake). It is built aside and renamed: a client that has the old one open
keeps reading it, and no writer ever waits for a reader. Written in DuckDB 1.x's storage format, so that 1.x clients
open it too.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
import uuid
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from tasks.artefacts import PARTIAL, fsync
from tasks.errors import BadArtefact, BadInput
from tasks.queries import literal, query
from tasks.schemas import AUDIT, COMPARISON, FLAGS, GRADIENTS, METRICS, REJECTS, SAMPLES

NAME = "catalogue.duckdb"
# Folders that are still being written begin with a dot.
_WHOLE = "[!.]*"
_RUNS, _COMPARISONS = f"runs/{_WHOLE}/run.json", f"comparisons/{_WHOLE}/comparison.parquet"


def build(lake: Path) -> bool:
    """Bring ``<lake>/catalogue.duckdb`` up to date; True when it was written anew."""
    lake = lake.resolve()
    statements = _definition(lake)
    if _signature(lake / NAME) == _digest(statements):
        return False
    # Again while runs are being recorded: of two that build at once, the later must not leave the older text.
    while True:
        _write(lake, statements)
        newer = _definition(lake)
        if newer == statements:
            return True
        statements = newer


def _write(lake: Path, statements: str) -> None:
    aside = lake / f"{PARTIAL}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{NAME}"
    with duckdb.connect(str(aside), config={"storage_compatibility_version": "v1.2.0"}) as db:
        db.execute(statements)
        db.execute("CREATE TABLE about AS SELECT ? AS signature", [_digest(statements)])
        db.execute("CHECKPOINT")
    fsync(aside)
    aside.replace(lake / NAME)
    fsync(lake)


def connect(lake: Path, run_id: str | None = None, *, need_run: bool = True) -> duckdb.DuckDBPyConnection:
    """The catalogue, read-only, with ``shards``: one run's gradients or factors (default: the newest's), by Arrow.

    With ``need_run`` false a lake that holds comparisons and no run will do; it has no ``shards``.

    Raises:
        BadInput: nothing has been recorded in this lake, or no such run.
        BadArtefact: the lake is damaged.
    """
    lake = lake.expanduser().resolve()
    if not _has(lake, _RUNS):
        if not need_run and run_id is None and _has(lake, _COMPARISONS):
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
    if not run_id or Path(run_id).name != run_id or not folder.is_dir():
        raise BadInput(
            where=str(lake / "runs"), expected=f"a run {run_id!r}", got="none of that name", do="See gradsieve runs."
        )
    shards = sorted(str(path) for path in folder.glob("*.arrow"))
    db.register("shards", ds.dataset(shards, schema=_readable(pa.ipc.open_file(shards[0]).schema), format="arrow"))
    return db


def _readable(schema: pa.Schema) -> pa.Schema:
    """DuckDB cannot read half floats, nor anything beside them: Arrow widens them on the way."""
    for place, field in enumerate(schema):
        if pa.types.is_fixed_size_list(field.type) and pa.types.is_float16(field.type.value_type):
            schema = schema.set(place, field.with_type(pa.list_(pa.float32(), field.type.list_size)))
    return schema


def _open(lake: Path) -> duckdb.DuckDBPyConnection:
    """The lake's catalogue if its file is up to date, else the same views in memory: a copied or moved lake would
    otherwise answer from where it was."""
    try:
        definition = _definition(lake)
        if _signature(lake / NAME) == _digest(definition):
            return duckdb.connect(str(lake / NAME), read_only=True)
        db = duckdb.connect()
        db.execute(definition)
        return db
    except (duckdb.Error, ValueError, OSError) as error:
        raise BadArtefact(
            where=str(lake),
            expected="runs and versions as they were written",
            got=str(error).partition("\n")[0],
            do="Something in the lake was deleted or damaged; gradsieve clean makes what is missing anew.",
        ) from error


def _digest(statements: str) -> str:
    return hashlib.sha256(statements.encode()).hexdigest()


def _has(lake: Path, pattern: str) -> bool:
    return next(lake.glob(pattern), None) is not None


def _definition(lake: Path) -> str:
    """The catalogue as SQL text; a view over files of which there are none yet cannot be created."""
    text = _over_runs(lake) if _has(lake, _RUNS) else ""
    if _has(lake, _COMPARISONS):
        listed, files = ", ".join(COMPARISON.names), literal(lake, _COMPARISONS)
        text += f"""
            CREATE VIEW comparisons AS
                SELECT parse_path(__file)[-2] AS run_id, {listed} FROM read_parquet({files}, filename = '__file');
        """
    return text


def _over_runs(lake: Path) -> str:
    runs, versions = lake / "runs", lake / "versions"
    tables = {
        "samples": ("samples/*.parquet", SAMPLES.names),
        "rejects": ("rejects.parquet", REJECTS.names),
        "gradients": ("gradients/*.parquet", GRADIENTS.names),
        "scores": ("scores.parquet", _union_columns(lake, "scores.parquet")),
        "flags": ("flags.parquet", _known(lake, "flags.parquet", FLAGS.names)),
        "audit": ("audit.parquet", _known(lake, "audit.parquet", AUDIT.names)),
        "metrics": ("metrics.parquet", METRICS.names),
    }
    text = (
        query("catalogue")
        .replace("{runs}", literal(runs, f"{_WHOLE}/run.json"))
        .replace("{versions}", literal(versions, "*/v*/manifest.json"))
        .replace("{removed}", literal(versions, "*/v*/removed.parquet"))
    )
    for view, (pattern, columns) in tables.items():
        if not columns:
            continue  # only runs of a version that did not write it yet
        listed = ", ".join(_quoted(name) for name in columns)
        source = f"read_parquet({literal(runs, f'{_WHOLE}/{pattern}')}, filename = '__file', union_by_name = true)"
        text += f"""
            CREATE VIEW {view} AS
                SELECT parse_path(__file)[{-2 - pattern.count("/")}] AS run_id, {listed} FROM {source};
            CREATE VIEW latest.{view} AS
                SELECT * FROM main.{view} WHERE run_id IN (SELECT run_id FROM main.runs WHERE latest);
        """
    for dataset, run_id in sorted(_newest_runs(lake).items()):
        files = literal(runs / run_id, "samples/*.parquet")
        text += f"CREATE VIEW data.{_quoted(dataset)} AS SELECT * FROM read_parquet({files});\n"
    return text


def _newest_runs(lake: Path) -> dict[str, str]:
    newest: dict[str, tuple[str, str]] = {}
    for path in (lake / "runs").glob(f"{_WHOLE}/run.json"):
        about = json.loads(path.read_text(encoding="utf-8"))
        newest[about["dataset"]] = max(newest.get(about["dataset"], ("", "")), (about["recorded"], about["run_id"]))
    return {dataset: run_id for dataset, (_, run_id) in newest.items()}


def _union_columns(lake: Path, name: str) -> list[str]:
    columns: dict[str, Any] = {}
    for path in sorted((lake / "runs").glob(f"{_WHOLE}/{name}")):
        columns |= dict.fromkeys(pq.read_schema(path).names)
    return list(columns)


def _known(lake: Path, name: str, columns: list[str]) -> list[str]:
    """Those of ``columns`` that some run has: the runs of a lake may all be older than the newest of them."""
    there = set(_union_columns(lake, name))
    return [column for column in columns if column in there]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _signature(path: Path) -> str | None:
    if not path.is_file():
        return None
    try:
        with duckdb.connect(str(path), read_only=True) as db:
            return db.execute("SELECT signature FROM about").fetchall()[0][0]
    except (duckdb.Error, IndexError):
        return None  # damaged or of another kind: it is only views, and is written anew
