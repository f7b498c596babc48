"""Samples with the same inputs, and which of them bear another label: the surest wrong labels there are."""

from __future__ import annotations

from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.sql import literal

COPIES = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("other_id", pa.string(), nullable=False),
        # exact: the same inputs. repeat: the same, in a table of few combinations of values.
        pa.field("kind", pa.string(), nullable=False),
        pa.field("distance", pa.float64(), nullable=False),
        pa.field("split", pa.string(), nullable=False),
        pa.field("other_split", pa.string(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("other_label", pa.string(), nullable=False),
    ]
)

# Of each content the first sample of its first label, and that of its second: every sample but the first is beside one
# of the two, and beside one of another label where there is one. Pairs are as many as samples, not as their square.
_PAIRS = """
    WITH samples AS (
        SELECT sample_id, split_part(sample_id, '-', 1) AS content,
               coalesce(TRY_CAST(split_part(sample_id, '-', 2) AS BIGINT), 0) AS copy, split, label
        FROM read_parquet({files})
        QUALIFY count(*) OVER (PARTITION BY split_part(sample_id, '-', 1)) > 1),
    firsts AS (
        SELECT content, label, min(copy) AS copy,
               row_number() OVER (PARTITION BY content ORDER BY min(copy)) AS nth_label
        FROM samples GROUP BY content, label),
    pairs AS (
        SELECT samples.*, CASE WHEN samples.label = first.label THEN coalesce(second.copy, first.copy)
                          ELSE first.copy END AS other_copy
        FROM samples JOIN firsts AS first ON first.content = samples.content AND first.nth_label = 1
        LEFT JOIN firsts AS second ON second.content = samples.content AND second.nth_label = 2)
    SELECT pairs.sample_id, other.sample_id AS other_id, {kind} AS kind, 0.0::DOUBLE AS distance,
           pairs.split, other.split AS other_split, pairs.label, other.label AS other_label
    FROM pairs JOIN samples AS other ON other.content = pairs.content AND other.copy = pairs.other_copy
    WHERE pairs.copy <> pairs.other_copy
    ORDER BY pairs.content, pairs.copy
"""


def write_copies(files: list[Path], path: Path, *, are_repeats: bool) -> tuple[int, int]:
    """Write schema ``COPIES``: each sample that has copies beside one of them, of another label if there is one.

    Args:
        files: of all samples, under their final ids and labels.
        path: to write to.
        are_repeats: whether equal inputs are repeats of a combination of values (tasks/ingestion/splits.py).

    Returns:
        (samples whose inputs bear another label elsewhere, different inputs of which that is true).
    """
    with duckdb.connect() as db:
        names = "[" + ", ".join(literal(file) for file in files) + "]"
        kind = "'repeat'" if are_repeats else "'exact'"
        table = db.sql(_PAIRS.format(files=names, kind=kind)).to_arrow_table()
        db.register("copies", table)
        samples, contents = db.execute(
            """SELECT count(*), count(DISTINCT split_part(sample_id, '-', 1)) FROM copies
               WHERE label <> other_label"""
        ).fetchall()[0]
    pq.write_table(table.cast(COPIES), path, compression="zstd")
    return samples, contents
