"""One table in the format of each reader of tables, and the reader of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest

from tasks.ingestion.readers import Reader
from tasks.ingestion.readers.arrow import Arrow
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.huggingface import HuggingFace
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.parquet import Parquet


def csv_of(folder: Path, table: pa.Table, **options: Any) -> Reader:
    """``a.csv``; missing cells are empty."""
    pa_csv.write_csv(table, folder / "a.csv")
    return Csv(path=folder / "a.csv", **options)


def jsonl_of(folder: Path, table: pa.Table, **options: Any) -> Reader:
    """``a.jsonl``, every key in every line."""
    (folder / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
    return Jsonl(path=folder / "a.jsonl", **options)


def parquet_of(folder: Path, table: pa.Table, **options: Any) -> Reader:
    """``a.parquet``, of several row groups where there are more than 20 rows."""
    pq.write_table(table, folder / "a.parquet", row_group_size=20)
    return Parquet(path=folder / "a.parquet", **options)


def arrow_of(folder: Path, table: pa.Table, **options: Any) -> Reader:
    """``a.arrow``."""
    with pa.ipc.new_file(str(folder / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    return Arrow(path=folder / "a.arrow", **options)


def huggingface_of(folder: Path, table: pa.Table, **options: Any) -> Reader:
    """The folder ``hub``; the test is skipped where datasets is not installed."""
    datasets = pytest.importorskip("datasets")
    datasets.Dataset(table).save_to_disk(str(folder / "hub"))
    return HuggingFace(path=folder / "hub", **options)


WRITERS: dict[str, Callable[..., Reader]] = {
    "csv": csv_of,
    "jsonl": jsonl_of,
    "parquet": parquet_of,
    "arrow": arrow_of,
    "huggingface": huggingface_of,
}
"""By kind of reader, each of (folder, table, options)."""
