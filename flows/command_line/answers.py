"""A query's answer, in the form its reader wants."""

from __future__ import annotations

import csv
import json
import sys
from contextlib import AbstractContextManager, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, TextIO

import duckdb

from flows.command_line.stores import look_into_stores
from tasks.catalogue.database import connect
from tasks.core.errors import BadConfig


def print_answer(
    lake: Path,
    query: str,
    form: str = "table",
    output: Path | None = None,
    run_id: str | None = None,
    bound: list[Any] | None = None,
    *,
    need_run: bool = True,
) -> None:
    """Ask the catalogue of ``lake`` and write the answer.

    Args:
        lake: whose catalogue.
        query: a SELECT.
        form: table, csv, json (one object a line) or parquet.
        output: file to write to; None for the standard output.
        run_id: the run whose gradient shards are ``shards``.
        bound: values of the query's parameters.
        need_run: refuse a lake that holds comparisons and no run.

    Raises:
        BadConfig: the catalogue cannot answer, with DuckDB's own words.
    """
    look_into_stores(lake, query)
    with connect(lake, run_id, need_run=need_run, for_query=query) as db:
        try:
            query = _bare(query)
            result = db.sql(query, params=bound) if bound else db.sql(query)
            if result is None:
                raise BadConfig(
                    where="the query", expected="a SELECT", got="a statement", do="The catalogue is read-only."
                )
            _write(result, form, output)
        except duckdb.Error as error:
            raise BadConfig(
                where="the query",
                expected="SQL that the catalogue can answer",
                got=str(error),
                do="See gradsieve sql --help.",
            ) from error


def _bare(query: str) -> str:
    """A statement without the semicolon that ends it and the comments after it: DuckDB puts it in brackets."""
    for index, kind in reversed(duckdb.tokenize(query)):
        if (kind == duckdb.token_type.operator and query[index] == ";") or kind == duckdb.token_type.comment:
            query = query[:index]
        else:
            break
    return query


def _write(result: duckdb.DuckDBPyRelation, form: str, output: Path | None) -> None:
    if form == "parquet":
        result.write_parquet(str(output))
        return
    if form == "table" and output is None:
        result.show(max_rows=10_000, max_width=_width())
        return
    with _sink(output) as sink:
        if form == "table":
            with redirect_stdout(sink):
                result.show(max_rows=10_000_000, max_width=100_000)
        elif form == "csv":
            writer = csv.writer(sink)
            writer.writerow(result.columns)
            writer.writerows(result.fetchall())
        else:
            for row in result.fetchall():
                sink.write(json.dumps(dict(zip(result.columns, row, strict=True)), default=str) + "\n")


def _sink(output: Path | None) -> AbstractContextManager[TextIO]:
    if output is None:
        return nullcontext(sys.stdout)
    try:
        return output.open("w", encoding="utf-8", newline="")
    except OSError as error:
        raise BadConfig(
            where=f"option output {output}", expected="a file that can be written", got=str(error), do="Name another."
        ) from error


def _width() -> int | None:
    """As wide as it needs to be in a pipe; DuckDB's own choice on a terminal."""
    return None if sys.stdout.isatty() else 100_000
