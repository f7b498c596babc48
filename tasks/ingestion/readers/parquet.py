"""Parquet files, streamed row group by row group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.errors import BadInput
from tasks.ingestion.files.hub_features import class_names_of, names_note, with_names
from tasks.ingestion.readers import CHUNK_ROWS, files_below
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.tables.table_rows import Batch


class Parquet(Tabular, kind="parquet"):
    """One Parquet file or a folder of them with one schema."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def batches(self, path: Path) -> Iterator[Batch]:
        """Batches in file order."""
        for file in files_below(path):
            try:
                with pq.ParquetFile(file) as table:
                    first, names = 0, class_names_of(table.schema_arrow)
                    notes = names_note(file.name, names)
                    for batch in table.iter_batches(batch_size=CHUNK_ROWS):
                        rows = np.arange(first, first + batch.num_rows)
                        yield Batch(file.name, with_names(batch, names), rows, notes=notes)
                        first += batch.num_rows
                    if first == 0:
                        empty = pa.RecordBatch.from_pylist([], schema=table.schema_arrow)
                        yield Batch(file.name, with_names(empty, names), np.zeros(0, np.int64))
            except (pa.ArrowInvalid, OSError) as error:
                raise BadInput(
                    where=str(file),
                    expected="a whole Parquet file",
                    got=str(error).partition("\n")[0],
                    do="Fetch or write the file again; a Parquet file cut short has lost its footer.",
                ) from error
