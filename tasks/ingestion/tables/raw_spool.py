"""The rows of a table as they came, on disk, while nobody knows yet what their columns are.

Chunks come back as they went in. Formats without a schema may give a column one type here and another there: chunks
whose columns have the same types share a file, so that no value is converted before the whole column is known. Files
name columns by position, for a table may have two names that SQL takes for one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.core.errors import BadInput
from tasks.ingestion.readers import Chunk

# Arrays of a chunk beside its payload.
_THIN = ("rows", "label", "split", "clean_label", "group", "source_id")


@dataclass(frozen=True)
class _Piece:
    """Where a chunk lies."""

    file: int
    row_group: int | None
    """None of a chunk without rows."""
    chunk: Chunk
    """The chunk without its columns, and with nothing in its other arrays."""


@dataclass
class _File:
    """Chunks whose columns have the same types."""

    path: Path
    schema: pa.Schema
    columns: dict[str, str]
    """Column → what it is called in the file."""
    writer: pq.ParquetWriter
    row_groups: int = 0


class RawSpool:
    """Chunks on disk, and the types that each column has in them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows = 0
        self.types: dict[str, list[pa.DataType]] = {}
        """Column → its types, the first rows' first."""
        self.unused: dict[str, str] = {}
        """Columns that are not here, each with the reason."""
        self.files: list[_File] = []
        self._aliases: dict[str, str] = {}
        self._pieces: list[_Piece] = []

    def write(self, chunks: Iterable[Chunk], look: Callable[[Chunk], None]) -> None:
        """Store every chunk; ``look`` is shown each.

        Raises:
            BadInput: there is none.
        """
        try:
            for chunk in chunks:
                self._add(chunk)
                look(chunk)
        finally:
            for file in self.files:
                file.writer.close()
        if not self._pieces:
            raise BadInput(where="the source", expected="rows", got="none", do="Check the path and the format.")

    def _add(self, chunk: Chunk) -> None:
        for name, column in chunk.payload.items():
            types = self.types.setdefault(name, [])
            if column.type not in types:
                types[:] = [kind for kind in (*types, column.type) if kind != pa.null()] or [column.type]
            self._aliases.setdefault(name, f"c{len(self._aliases)}")
        self.unused = chunk.unused | self.unused
        thin = {name: getattr(chunk, name) for name in _THIN}
        arrays = {name: array for name, array in thin.items() if isinstance(array, pa.Array)}
        empty = {name: array.slice(0, 0) for name, array in arrays.items()}
        arrays |= {self._aliases[name]: column for name, column in chunk.payload.items()}
        batch = pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))
        number, file = self._file_for(batch.schema, list(chunk.payload))
        self._pieces.append(
            _Piece(number, file.row_groups if batch.num_rows else None, replace(chunk, payload={}, **empty))
        )
        if batch.num_rows:
            file.writer.write_batch(batch)
            file.row_groups += 1
            self.rows += batch.num_rows

    def _file_for(self, schema: pa.Schema, names: list[str]) -> tuple[int, _File]:
        for number, file in enumerate(self.files):
            if file.schema.equals(schema):
                return number, file
        path = self.folder / f"raw-{len(self.files):03d}.parquet"
        columns = {name: self._aliases[name] for name in names}
        self.files.append(_File(path, schema, columns, pq.ParquetWriter(path, schema, compression="lz4")))
        return len(self.files) - 1, self.files[-1]

    def __iter__(self) -> Iterator[Chunk]:
        """The chunks, as they came."""
        readers = [pq.ParquetFile(file.path) for file in self.files]
        try:
            for piece in self._pieces:
                yield self._chunk(piece, readers[piece.file])
        finally:
            for reader in readers:
                reader.close()

    def _chunk(self, piece: _Piece, reader: pq.ParquetFile) -> Chunk:
        file = self.files[piece.file]
        table = file.schema.empty_table() if piece.row_group is None else reader.read_row_group(piece.row_group)
        arrays = {name: _whole(table[name]) for name in table.column_names}
        payload = {name: arrays[alias] for name, alias in file.columns.items()}
        return replace(piece.chunk, payload=payload, **{name: arrays[name] for name in _THIN if name in arrays})

    def alias(self, name: str) -> str:
        """What a column is called in the files."""
        return self._aliases[name]

    def sources_without(self, name: str) -> list[str]:
        """The sources that have rows and lack a column."""
        lacking = [
            piece.chunk.source
            for piece in self._pieces
            if piece.row_group is not None and name not in self.files[piece.file].columns
        ]
        return list(dict.fromkeys(lacking))

    def remove(self) -> None:
        """Delete the files."""
        for file in self.files:
            file.path.unlink(missing_ok=True)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
