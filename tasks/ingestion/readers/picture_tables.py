"""Tables of pictures: encoded in a column, or in files that a column names."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
from pydantic import Field

from tasks.core.errors import BadInput, GradsieveError
from tasks.dataset import images
from tasks.dataset.payload import Payload, picture_payload
from tasks.ingestion.files.picture_files import PICTURES, suffix_of
from tasks.ingestion.files.plain_files import is_file
from tasks.ingestion.files.source_files import FileKind, SourceFile
from tasks.ingestion.readers import Chunk
from tasks.ingestion.readers.picture_options import Channels, ImageSize
from tasks.ingestion.readers.table_files import OpenTable, TableFiles
from tasks.ingestion.tables.column_names import shown_names
from tasks.ingestion.tables.picture_cells import Beside, NoPicture, holds_paths, openers_of, picture_columns, picture_in
from tasks.ingestion.tables.picture_names import foreign_note, ids_note, named_by_ids
from tasks.ingestion.tables.table_columns import TableColumns
from tasks.ingestion.tables.table_rows import Batch, own_name

PICTURE = "image"
"""What a sample calls a picture that its source has in a file."""
# Rows whose pictures are held at once where each is a file: a camera's have 25 MB.
_ROWS = 64
# Files of a folder that are looked at for pictures.
_LOOKED_AT = 1000


class PictureTables(TableFiles):
    """What readers of tables know of pictures."""

    kind: Any = None
    image: str | None = Field(
        default=None,
        description="Column of pictures: encoded, in base64, or the paths of files in the folder of the table. Beside "
        "features they are shown and no input. Default: one that holds bytes and path, or paths of pictures that are "
        "there.",
    )
    image_size: ImageSize = None
    channels: Channels = None

    @property
    def may_be_pictures(self) -> bool:
        """Whether nobody said what the inputs are."""
        return self.image is None

    def files(self) -> list[Path]:
        """Every source file, training first, and then the pictures that rows name."""
        files = super().files()
        if not any(_lies_beside_pictures(file) for file in files):
            return files
        try:
            return [*files, *dict.fromkeys(self._named_pictures(files))]
        except GradsieveError:
            return files  # for open to report

    def with_pictures_found(self, first: Batch) -> str | None:
        """The column of pictures that nobody named, where there is one.

        Raises:
            BadInput: there are several.
        """
        if not self.may_be_pictures:
            return None
        columns = picture_columns(first.table, [name for _, name in self.named], first.beside)
        if not columns and not self._beside_ids(first):
            columns = self._ids_of(first)
        if len(columns) > 1:
            raise BadInput(
                where=first.source,
                expected="one column of pictures",
                got=shown_names(columns),
                do=f"Name it: --reader.image {columns[0]}; or name other inputs: --reader.features.",
            )
        return columns[0] if columns else None

    def open_table(self) -> OpenTable:
        """With a word about pictures that an id names, where other columns may be the inputs."""
        table = super().open_table()
        if not self.may_be_pictures or not self._beside_ids(table.first) or not (ids := self._ids_of(table.first)):
            return table
        return table._replace(first=replace(table.first, notes=(*table.first.notes, ids_note(ids))))

    def _ids_of(self, first: Batch) -> list[str]:
        names = first.table.schema.names
        return named_by_ids(first.table, [name for _, name in self.named_in(names)], first.beside)

    def _beside_ids(self, first: Batch) -> bool:
        """Whether a table has more columns than one beside those that options name."""
        names = first.table.schema.names
        return len({*names} - {name for _, name in self.named_in(names)}) > 1

    def picture_payload(
        self, table: pa.RecordBatch, image: str, where: str, beside: Beside | None
    ) -> tuple[Payload, tuple[str, ...]]:
        """What a network receives of a column of pictures, and what is to be told about it.

        Pictures that lie elsewhere are a column of their own, and the paths go along under their own name.
        """
        column = table.column(image)
        look = images.look_at(openers_of(column, beside), self.image_size, self.channels, f"{where}, column {image!r}")
        is_apart = holds_paths(column) and PICTURE not in {name.lower() for name in table.schema.names}
        name = PICTURE if is_apart else own_name(image)
        return picture_payload(name, look), (*look.notes, *foreign_note(column, beside))

    @property
    def _file_kind(self) -> FileKind:
        return FileKind(self.suffixes, self.packed, () if self.image is None else PICTURES)

    def _named_pictures(self, files: Sequence[Path]) -> Iterator[Path]:
        image = self.image
        if image is None and self.may_be_pictures:
            # Formats without a schema read no more rows than this to know their columns.
            image = self.with_pictures_found(self.model_copy(update={"limit": _ROWS}).open_table().first)
        if image is None:
            return
        columns = TableColumns((image,), {}, self.label)
        for file, batch in self.batches_of([SourceFile(path, path.name) for path in files]):
            table = columns.of(batch, file).table
            cells = table.column(image).to_pylist() if image in table.schema.names else []
            yield from _paths_in(cells, Beside.of(file.path))


def found_note(image: str) -> str:
    """What there is to tell about a column that nobody named."""
    return f"inputs are the pictures of the column {image!r} (--reader.features names others)"


def with_note(chunks: Iterator[Chunk], note: str) -> Iterator[Chunk]:
    """The chunks, each with one thing more to tell."""
    return (replace(chunk, notes=(note, *chunk.notes)) for chunk in chunks)


def parts_of(batch: Batch, image: str | None) -> Iterator[Batch]:
    """The batch, in so small parts that the pictures which its rows name can be held."""
    column = None if image is None else batch.table.column(image)
    if column is None or pa.types.is_binary(column.type) or batch.table.num_rows <= _ROWS:
        yield batch
        return
    for first in range(0, batch.table.num_rows, _ROWS):
        part = slice(first, first + _ROWS)
        rejects = [] if first else batch.rejects
        yield replace(batch, table=batch.table.slice(first, _ROWS), rows=batch.rows[part], rejects=rejects)


def _paths_in(cells: Sequence[Any], beside: Beside) -> Iterator[Path]:
    for cell in cells:
        try:
            picture = picture_in(cell, beside)
        except NoPicture:
            continue
        if isinstance(picture, Path):
            yield picture


def _lies_beside_pictures(table: Path) -> bool:
    """Whether the folder of a file, or one of those in it, holds a picture, as far as a short look tells."""
    if not is_file(table):
        return False
    entries = [*islice(table.parent.iterdir(), _LOOKED_AT)]
    inner = (islice(entry.iterdir(), _LOOKED_AT) for entry in entries if entry.is_dir())
    return any(suffix_of(path.name) in PICTURES for some in (entries, *inner) for path in some)
