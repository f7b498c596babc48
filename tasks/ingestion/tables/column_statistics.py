"""What only a whole column can tell: how many different values it has, and between which bounds."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import duckdb
import numpy as np
import pyarrow as pa

from tasks.core.sql import connect, literal, string
from tasks.ingestion.tables.columns import is_text
from tasks.ingestion.tables.profile import WHOLE, Profile, codes, spellings
from tasks.ingestion.tables.raw_spool import RawSpool

# Rows of a table in which numbers with gaps are row numbers and no chance.
_ENOUGH = 50
_WHOLE = re.compile(r"[+-]?[0-9]+")


@dataclass(frozen=True)
class Statistics:
    """Of one column, over all rows."""

    rows: int
    values: int
    """Cells that hold a value."""
    missing: int
    distinct: int | None
    """Different values; None of lists and the like, which are not compared."""
    consecutive: bool = False
    """Whether they are whole numbers, each once, without a gap but of rows that have none."""
    whole: bool = False
    """Whether all are whole numbers; not asked of few values that repeat."""

    @property
    def is_constant(self) -> bool:
        """Whether all rows say the same."""
        return self.distinct == 1 and not self.missing

    @property
    def all_distinct(self) -> bool:
        """Whether every cell that holds a value has one of its own, and more than half do."""
        return self.distinct == self.values > 1 and 2 * self.values > self.rows


def statistics_of(spool: RawSpool, profiles: dict[str, Profile], markers: tuple[str, ...]) -> dict[str, Statistics]:
    """Of every column of a table as it came.

    Args:
        spool: the table.
        profiles: of its columns.
        markers: cells that hold no value.
    """
    with _view(spool) as db:
        return {name: _of(db, spool, name, profile, markers) for name, profile in profiles.items()}


@contextmanager
def _view(spool: RawSpool) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the view ``raw``: columns by position, those that change their type as text."""
    with connect(spool.folder) as db:
        parts = []
        for file in spool.files:
            columns = [
                f"{alias}::VARCHAR AS {alias}" if len(spool.types[name]) > 1 else alias
                for name, alias in file.columns.items()
                if _is_compared(spool.types[name])
            ]
            parts.append(f"SELECT {', '.join(['0 AS zero', *columns])} FROM read_parquet({literal(file.path)})")
        if parts and spool.rows:
            db.execute(f"CREATE TEMP VIEW raw AS {' UNION ALL BY NAME '.join(parts)}")
        yield db


def distinct_of(spool: RawSpool, array: str) -> int:
    """How many different values an array of the chunks has that is no column of the payload."""
    parts = [f'SELECT "{array}" FROM read_parquet({literal(file.path)})' for file in spool.files if file.row_groups]
    if not parts:
        return 0
    with connect(spool.folder) as db:
        return _ask(db, f'SELECT count(DISTINCT "{array}") FROM ({" UNION ALL ".join(parts)})')[0]


def _is_compared(types: list[pa.DataType]) -> bool:
    """Whether a column's values are compared: lists, structures and bytes are not."""
    decoded = [kind.value_type if pa.types.is_dictionary(kind) else kind for kind in types]
    return not any(
        pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_null(kind)
        for kind in decoded
    )


def _of(
    db: duckdb.DuckDBPyConnection, spool: RawSpool, name: str, profile: Profile, markers: tuple[str, ...]
) -> Statistics:
    types = spool.types[name]
    missing = spool.rows - profile.values
    if not _is_compared(types) or not profile.values:
        return Statistics(spool.rows, profile.values, missing, None if profile.values else 0)
    if profile.unique is not None and len(profile.unique):
        return _of_few(spool.rows, profile, profile.unique, missing)
    alias = spool.alias(name)
    if profile.numbers < profile.values:
        word = f"trim({alias}::VARCHAR)"
        # 64 bits stand for a text of any length: of a million different ones two are alike once in 37 million columns.
        sql = f"SELECT count(DISTINCT hash({word})) FROM raw WHERE {word} NOT IN ('', {_listed(markers)})"
        return Statistics(spool.rows, profile.values, missing, _ask(db, sql)[0])
    number = f"TRY_CAST({alias} AS DOUBLE)"
    coded = f" AND {number} NOT IN ({', '.join(map(repr, codes(markers)))})" if codes(markers) else ""
    distinct, least, most, whole = _ask(
        db,
        f"""SELECT count(DISTINCT {number}), min({number}), max({number}), bool_and({number} = floor({number})) FROM raw
            WHERE isfinite({number}){coded}""",
    )
    if distinct and max(-least, most) > WHOLE:
        distinct, least, most, whole = _ask(db, _of_long(alias, number))
    size = spool.rows, profile.values
    run = _is_run(distinct, size, least, most, whole)
    return Statistics(spool.rows, profile.values, missing, distinct, run, bool(whole))


def _of_long(alias: str, number: str) -> str:
    """The same, by every digit: ids beyond 2^53 that differ in the last one are one as floats."""
    word = f"trim({alias}::VARCHAR)"
    is_whole = f"regexp_full_match({word}, '[+-]?[0-9]{{1,38}}')"
    return f"""SELECT count(DISTINCT coalesce(whole::VARCHAR, word)), min(whole), max(whole), count(whole) = count(*)
               FROM (SELECT {word} AS word, CASE WHEN {is_whole} THEN TRY_CAST({word} AS HUGEINT) END AS whole
                     FROM raw WHERE isfinite({number}))"""


def _of_few(rows: int, profile: Profile, unique: pa.Array, missing: int) -> Statistics:
    """From the values themselves."""
    size = rows, profile.values
    if profile.numbers < profile.values or len(unique) < profile.values:
        return Statistics(rows, profile.values, missing, len(unique))
    whole_numbers = _whole_numbers(unique)
    if whole_numbers:
        distinct, least, most = len(whole_numbers), min(whole_numbers), max(whole_numbers)
        return Statistics(rows, profile.values, missing, distinct, _is_run(distinct, size, least, most, True), True)
    numbers = unique.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    distinct = len(np.unique(numbers))
    whole = bool((numbers == np.floor(numbers)).all())
    run = _is_run(distinct, size, numbers.min(), numbers.max(), whole)
    return Statistics(rows, profile.values, missing, distinct, run, whole)


def _whole_numbers(unique: pa.Array) -> set[int]:
    """Different whole numbers with all their digits; none unless all are such."""
    if pa.types.is_integer(unique.type):
        return set(unique.to_pylist())
    words = unique.to_pylist() if is_text(unique.type) else [""]
    return set(map(int, words)) if all(map(_WHOLE.fullmatch, words)) else set()


def _is_run(distinct: int, size: tuple[int, int], least: float, most: float, whole: bool) -> bool:
    """Whether numbers are whole, one for each row of a table, and leave none out but of rows that have none.

    Args:
        distinct: different ones.
        size: rows of the table, and how many of them have a number: more than half.
        least: of the numbers.
        most: of the numbers.
        whole: whether all are.
    """
    rows, values = size
    enough = values == rows or (rows >= _ENOUGH and 2 * values > rows)
    return bool(distinct == values > 1 and enough and whole and most - least == rows - 1)


def _listed(markers: tuple[str, ...]) -> str:
    return ", ".join(map(string, spellings(markers).to_pylist())) or "''"


def _ask(db: duckdb.DuckDBPyConnection, sql: str) -> tuple:
    return db.execute(sql).fetchall()[0]
