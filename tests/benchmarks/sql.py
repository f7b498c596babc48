"""The hundred most suspect of ten million samples, with what identifies them: the catalogue beside bare DuckDB.

    python tests/benchmarks/sql.py [--rows 10000000] [--rounds 9] [--lake FOLDER]

A made-up run in the layout that gradsieve writes: flags.parquet by rank, samples in files of 8,192. Every query is
asked of the catalogue and, as the same SQL over the same Parquet files, of a DuckDB that knows nothing of it; they take
turns in one process, each over a connection that is open, after one call that does not count. Medians in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from statistics import median

import duckdb
import torch
from rich.console import Console
from rich.table import Table
from timing import machine

from tasks.catalogue.database import NAME, build

RUN = "made-up-20261125T000000-0000"
FILES = {"flags": "flags.parquet", "suspects": "flags.parquet", "samples": "samples/*.parquet"}
_JOINED = "SELECT rank, sample_id, s.label, s.source, s.{row}, reason FROM flags JOIN samples s USING ({key}) {run} "
QUERIES = {
    "suspects, first by rank": "SELECT rank, sample_id, label, suggested_label, source, {row}, reason FROM suspects "
    "{run} ORDER BY rank LIMIT 100",
    "flags joined to samples, rank ≤ 100": f"{_JOINED} rank <= 100 ORDER BY rank",
    "flags joined to samples, first by rank": f"{_JOINED} ORDER BY rank LIMIT 100",
    "flagged by label": "SELECT label, count(*) FROM suspects {run} flag GROUP BY label ORDER BY label",
}
_SAMPLES = """
    CREATE TABLE made AS
    SELECT md5(i::VARCHAR) AS sample_id, 'part-' || (i // 100000) || '.csv' AS source, i % 100000 AS "row",
           'train' AS split, (i % 10)::VARCHAR AS label, NULL::VARCHAR AS clean_label, NULL::VARCHAR AS "group",
           NULL::VARCHAR AS source_id, hash(i) AS drawn
    FROM range({rows}) t(i)
"""
_FLAGS = """
    SELECT sample_id, rank <= {rows} // 50 AS flag, rank, 1.0 / rank AS suspicion, 'fusion' AS detector,
           ['fusion', 'l2'] AS marked_by, 'given ' || label || ' (p = 0.' || drawn % 1000 || '), held-out model says '
           || (drawn % 10) || '; rank ' || rank || ' by fusion' AS reason, NULL::VARCHAR AS guard,
           random() AS p_wrong, (drawn % 10)::VARCHAR AS suggested_label, random() AS p_suggested,
           label, source, "row", "group", source_id
    FROM (SELECT *, row_number() OVER (ORDER BY drawn) AS rank FROM made) ORDER BY rank
"""


def make(lake: Path, rows: int, each: int = 8192) -> None:
    """The lake of one run of ``rows`` samples."""
    run = lake / "runs" / RUN
    (run / "samples").mkdir(parents=True)
    with duckdb.connect() as db:
        db.execute(_SAMPLES.format(rows=rows))
        parquet = "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 4096)"
        for number, start in enumerate(range(0, rows, each)):
            path = run / "samples" / f"train-{number:05d}.parquet"
            chosen = f"FROM made WHERE rowid BETWEEN {start} AND {start + each - 1} ORDER BY rowid"
            db.execute(f"COPY (SELECT * EXCLUDE drawn {chosen}) TO '{path}' {parquet}")
        flags = run / "flags.parquet"
        db.execute(f"COPY ({_FLAGS.format(rows=rows)}) TO '{flags}' (FORMAT parquet, COMPRESSION zstd)")
    about = {"run_id": RUN, "dataset": "made-up", "recorded": "2026-11-25T00:00:00", "facts": {}, "stages": []}
    (run / "run.json").write_text(json.dumps(about))
    build(lake)


def bare(lake: Path) -> duckdb.DuckDBPyConnection:
    """DuckDB with the Parquet files under their names."""
    db = duckdb.connect()
    for name, pattern in FILES.items():
        db.execute(f"CREATE VIEW {name} AS FROM read_parquet('{lake / 'runs' / RUN / pattern}')")
    return db


def asked(query: str, *, catalogue: bool) -> str:
    """The query for the one or the other: the catalogue holds many runs, and calls a row of the source otherwise."""
    condition = query.partition("{run}")[2].strip()
    followed = not condition.startswith(("ORDER", "GROUP"))
    run = f"WHERE run_id = '{RUN}'{' AND' if followed else ''}" if catalogue else ("WHERE" if followed else "")
    names = {"key": "run_id, sample_id", "row": "source_row"} if catalogue else {"key": "sample_id", "row": '"row"'}
    return query.format(run=run, **names)


def main() -> None:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--lake", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        lake = (options.lake or Path(temporary)).resolve()
        if not (lake / "runs" / RUN).is_dir():
            make(lake, options.rows)
        table = Table("query", "catalogue, ms", "bare, ms", "ratio", title=f"{options.rows:,} samples")
        sides = {True: duckdb.connect(str(lake / NAME), read_only=True), False: bare(lake)}
        for name, query in QUERIES.items():
            times: dict[bool, list[float]] = {True: [], False: []}
            answers = {}
            for _ in range(options.rounds + 1):
                for side, db in sides.items():
                    start = time.perf_counter()
                    answers[side] = db.execute(asked(query, catalogue=side)).fetchall()
                    times[side].append(1000 * (time.perf_counter() - start))
            if answers[True] != answers[False]:
                raise SystemExit(f"{name}: the two do not say the same")
            ours, theirs = median(times[True][1:]), median(times[False][1:])
            table.add_row(name, f"{ours:.1f}", f"{theirs:.1f}", f"{ours / theirs:.2f}")
        Console(width=150).print(table)
        print(machine(torch.device("cpu"), os.cpu_count() or 1))


if __name__ == "__main__":
    main()
