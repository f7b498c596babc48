"""Every usable row, hashed, on disk between the passes of ingest, and the split that each turns out to be in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.sql import connect, literal
from tasks.ingestion.splits import DRAW, Drawn
from tasks.pipeline.schemas import SPLITS

Cells = Callable[[str], Iterator[pa.Array]]
"""The pieces of a column, by its name."""


@dataclass(frozen=True)
class Spool:
    """Rows in the order in which they were read."""

    path: Path
    drawn: Drawn
    dropped: frozenset[int] = frozenset()
    """Rows, by their position, that turned out to be no samples."""

    def batches(self, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
        """The rows, with their splits; all columns of samples unless some are named."""
        first = 0
        with pq.ParquetFile(self.path) as file:
            names = [name for name in file.schema_arrow.names if name != DRAW] if columns is None else columns
            # A row group is a chunk, as heavy as a reader makes them; a batch over several might be of any weight.
            groups = (file.iter_batches(row_groups=[i], columns=names) for i in range(file.num_row_groups))
            for batch in chain.from_iterable(groups):
                if "split" in names:
                    codes = self.drawn.codes[first : first + batch.num_rows]
                    index = batch.schema.get_field_index("split")
                    batch = batch.set_column(index, batch.schema.field(index), _named(codes))
                first += batch.num_rows
                yield batch

    @contextmanager
    def training_cells(self) -> Iterator[Cells]:
        """A column of the training rows by its name, piece by piece.

        The file is opened once for all of them: of ten thousand columns its schema alone takes 10 ms to read.
        """
        is_train = self.drawn.codes == SPLITS.index("train")
        is_train[list(self.dropped)] = False

        def cells(name: str) -> Iterator[pa.Array]:
            first = 0
            for i in range(file.num_row_groups):
                for batch in file.iter_batches(row_groups=[i], columns=[name]):
                    yield batch.column(0).filter(pa.array(is_train[first : first + batch.num_rows]))
                    first += batch.num_rows

        with pq.ParquetFile(self.path) as file:
            yield cells

    @contextmanager
    def connect(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A connection with the view ``spool``: place, sample_id, source, row, split, label."""
        with connect(self.path.parent) as db:
            places = pa.array(np.arange(len(self.drawn.codes)))
            splits = pa.table({"place": places, "split": _named(self.drawn.codes)})
            db.register("splits", splits)
            db.execute(
                f"""CREATE TEMP VIEW spool AS
                    SELECT splits.place, sample_id, source, "row", splits.split, label
                    FROM read_parquet({literal(self.path)}, file_row_number = true) AS came
                    JOIN splits ON splits.place = came.file_row_number"""
            )
            yield db


def _named(codes: np.ndarray) -> pa.Array:
    # Not made on import: pyarrow imports pandas with the first array of Python objects.
    return pa.array(SPLITS).take(pa.array(codes))
