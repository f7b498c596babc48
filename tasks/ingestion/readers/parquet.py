"""Parquet files, streamed row group by row group."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.errors import BadInput
from tasks.ingestion.readers import files_below
from tasks.ingestion.readers.arrow_batches import in_chunks, of_parquet
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.tables.table_rows import Batch

# Of each column.
_BUFFER = 1 << 16


class Parquet(Tabular, kind="parquet"):
    """One Parquet file or a folder of them with one schema."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def batches(self, path: Path) -> Iterator[Batch]:
        """Batches in file order."""
        for file in files_below(path):
            try:
                # A column is read piece by piece, not all that it has in a row group.
                with pq.ParquetFile(file, buffer_size=_BUFFER, pre_buffer=False) as table:
                    yield from in_chunks(file.name, table.schema_arrow, of_parquet(str(file), table))
            except (pa.ArrowInvalid, OSError) as error:
                raise BadInput(
                    where=str(file),
                    expected="a whole Parquet file",
                    got=str(error).partition("\n")[0],
                    do="Fetch or write the file again; a Parquet file cut short has lost its footer.",
                ) from error
