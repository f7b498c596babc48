"""Arrow IPC, file or stream format, memory-mapped."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pyarrow as pa

from tasks.core.errors import BadInput
from tasks.ingestion.readers import files_below
from tasks.ingestion.readers.arrow_batches import in_chunks
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.tables.table_rows import Batch

_FILE_MAGIC = b"ARROW1"


class Arrow(Tabular, kind="arrow"):
    """One Arrow IPC file (Feather v2) or stream, or a folder of them with one schema."""

    suffixes: ClassVar[tuple[str, ...]] = (".arrow", ".arrows", ".feather")

    def batches(self, path: Path) -> Iterator[Batch]:
        """Batches in file order, large ones sliced without a copy."""
        for file in files_below(path):
            try:
                with pa.memory_map(str(file)) as source:
                    yield from _read(file, source)
            except pa.ArrowMemoryError as error:
                raise BadInput(
                    where=str(file),
                    expected="batches that memory has room for",
                    got=str(error),
                    do="Write it in smaller batches; if it is small, it is damaged: fetch it again.",
                ) from error
            except (pa.ArrowException, OSError) as error:
                raise BadInput(
                    where=str(file),
                    expected="an Arrow IPC file or stream",
                    got=str(error).partition("\n")[0],
                    do="Fetch or write the file again.",
                ) from error


def _read(file: Path, source: pa.MemoryMappedFile) -> Iterator[Batch]:
    in_file_format = source.read(len(_FILE_MAGIC)) == _FILE_MAGIC
    source.seek(0)
    if in_file_format:
        reader = pa.ipc.open_file(source)
        batches = (reader.get_batch(i) for i in range(reader.num_record_batches))
    else:
        reader = pa.ipc.open_stream(source)
        batches = iter(reader)
    yield from in_chunks(file.name, reader.schema, batches)
