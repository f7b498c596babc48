"""Which split a row is in: the one that its source names, else one drawn by what the row is.

A row's draw is a number in [0, 1) that follows from its content, or its group: copies and members of a group land
together, and new rows move no old ones. Two things are known only of all rows:

    classes    the two rows of a class with the largest draws are for training, however small the class
    repeats    where a table has few different rows, a split by content would put whole combinations of values aside:
               the draw then follows from (content, label, which copy), so that equal rows are dealt among the splits
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple

import duckdb
import numpy as np
import pyarrow as pa

from tasks.core.sql import connect, literal
from tasks.ingestion.readers import Chunk
from tasks.pipeline.schemas import SPLIT_NAMES, SPLITS

DRAW = "gradsieve:draw"
"""The spool's column of draws, in units of 2⁻³²; null where the source names the split."""
# Rows of a class that are always trained on: with one there is nothing to tell a right label by.
_TRAINED_ON = 2
# A table of so many rows to each different one is of few combinations of values.
_REPEATS = 5
# Below it a handful of copies would make a table one of repeats.
_LEAST_ROWS = 50


class Drawn(NamedTuple):
    """The split of every row of a spool."""

    codes: np.ndarray
    """n int8, positions among ``SPLITS``."""
    distinct: int
    """Different contents."""
    are_repeats: bool
    """Whether equal rows are repeats of a combination of values and not copies of a sample."""

    @property
    def has_copies(self) -> bool:
        """Whether any two rows have the same content: else nobody need look for them."""
        return self.distinct < len(self.codes)


def named_splits(chunk: Chunk) -> tuple[list[str], np.ndarray]:
    """The split that the source names for each row, "" where it names none, and which rows name one that is unknown."""
    n = len(chunk.rows)
    if chunk.split is None or isinstance(chunk.split, str):
        return [chunk.split or ""] * n, np.zeros(n, bool)
    names = [None if name is None else SPLIT_NAMES.get(name.lower()) for name in chunk.split.to_pylist()]
    return [name or "" for name in names], np.array([name is None for name in names], bool)


def draws_of(chunk: Chunk, hashes: list[str]) -> pa.Array:
    """The draw of each row, uint32: of its group where it has one, else of its content; null where none is needed.

    Args:
        chunk: the rows.
        hashes: their content hashes.
    """
    if chunk.split is not None:
        return pa.nulls(len(hashes), pa.uint32())
    groups = [None] * len(hashes) if chunk.group is None else chunk.group.to_pylist()
    keys = [
        h if group is None else hashlib.blake2b(group.encode(), digest_size=16).hexdigest()
        for h, group in zip(hashes, groups, strict=True)
    ]
    return pa.array([int(key[:8], 16) for key in keys], pa.uint32())


def draw_splits(spool: Path, held_out: dict[str, float], *, is_table: bool, has_classes: bool) -> Drawn:
    """The split of every row of a spool.

    Args:
        spool: the rows, hashed.
        held_out: the share of each split that is set aside where the source names none.
        is_table: whether equal rows may be repeats.
        has_classes: whether labels are classes, of which each needs rows to be trained on.
    """
    with connect(spool.parent) as db:
        db.execute(
            f"""CREATE TEMP TABLE rows AS
                SELECT file_row_number AS place, sample_id, source, "row", split, label, "group", "{DRAW}" AS draw
                FROM read_parquet({literal(spool)}, file_row_number = true)"""
        )
        count, distinct, groups = db.execute(
            'SELECT count(*), count(DISTINCT sample_id), count("group") FROM rows'
        ).fetchall()[0]
        are_repeats = is_table and not groups and count >= max(_LEAST_ROWS, _REPEATS * distinct)
        if are_repeats:
            _draw_each_copy(db)
        names = [*held_out, "train"]
        ends = [round(end * 2**32) for end in np.cumsum(list(held_out.values()))]
        cases = " ".join(f"WHEN draw < {end} THEN '{name}'" for name, end in zip(names, ends, strict=False))
        # Of a content that is trained on for one class's sake, every copy is.
        unit = "place" if are_repeats else "sample_id"
        order = "ORDER BY draw DESC, sample_id, place"
        kept = f"""SELECT {unit} FROM rows WHERE split = '' AND "group" IS NULL
                   QUALIFY row_number() OVER (PARTITION BY label {order}) <= {_TRAINED_ON}
                       AND count(*) OVER (PARTITION BY label) >= {_TRAINED_ON}"""
        is_kept = f"{unit} IN ({kept})" if has_classes else "false"
        split = f"CASE WHEN split <> '' THEN split WHEN {is_kept} THEN 'train' {cases} ELSE 'train' END"
        splits = ", ".join(f"'{name}'" for name in SPLITS)
        codes = db.execute(
            f"SELECT CAST(list_position([{splits}], {split}) - 1 AS TINYINT) AS code FROM rows ORDER BY place"
        ).fetchnumpy()["code"]
    return Drawn(np.asarray(codes, np.int8), distinct, are_repeats)


def _draw_each_copy(db: duckdb.DuckDBPyConnection) -> None:
    """Draws of (content, label, which copy): a row that comes later is a later copy, and moves none."""
    db.execute(
        """CREATE OR REPLACE TEMP TABLE rows AS
           SELECT * REPLACE (
               CASE WHEN draw IS NULL THEN NULL ELSE CAST('0x' || left(md5(concat_ws(' ', sample_id, label, row_number()
                   OVER (PARTITION BY sample_id, label ORDER BY source, "row"))), 8) AS UINTEGER) END AS draw)
           FROM rows"""
    )
