"""Pictures that are shown and no input: of rows whose inputs are embeddings of them."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
from PIL import Image

from tasks.dataset import images
from tasks.ingestion.tables.picture_cells import Beside, name_in, picture_in
from tasks.ingestion.tables.table_rows import Batch

SHOWN = "image"
"""The column that pages look for pictures in."""
PATH = "image_path"
"""What a column of paths is called then that had this name itself."""
# Pixels of the longer side that are kept: what is only looked at need not be what a camera took.
_LONGEST = 640


def with_shown_pictures(batch: Batch, name: str) -> Batch:
    """The batch with the pictures of the column ``name`` as bytes in the column ``image``.

    Pictures that are missing or cannot be decoded are null there, and counted in a note: their rows stay. Paths name
    the samples.
    """
    column = batch.table.column(name)
    cells = column.to_pylist()
    pictures = [_shown(value, batch.beside) for value in cells]
    names = pa.array(map(name_in, cells), pa.string())
    missing = sum(picture is None for picture in pictures)
    table = batch.table
    if name == SHOWN and not pa.types.is_binary(column.type) and PATH not in table.schema.names:
        table = table.append_column(PATH, column)
    shown = pa.array(pictures, pa.binary())
    if SHOWN in table.schema.names:
        table = table.set_column(table.schema.get_field_index(SHOWN), SHOWN, shown)
    else:
        table = table.append_column(SHOWN, shown)
    notes = (f"{missing:,} pictures to be shown are missing (column {name}, up to row {batch.rows[-1]:,})",)
    return replace(batch, table=table, names=names, notes=(*batch.notes, *(notes if missing else ())))


def _shown(value: Any, beside: Beside | None) -> bytes | None:
    """A picture as it came, or a smaller one; None where there is none."""
    try:
        picture = picture_in(value, beside)
        data = picture.read_bytes() if isinstance(picture, Path) else picture
        if data is None:
            return None
        header, image = images.header_of(io.BytesIO(data)), images.open_picture(data, _LONGEST)
    except (OSError, ValueError):
        return None
    # A JPEG is decoded small: how large it is stands in its header only.
    if max(header.width, header.height) <= _LONGEST:
        return data
    image.thumbnail((_LONGEST, _LONGEST), Image.Resampling.BICUBIC, reducing_gap=2.0)
    sink = io.BytesIO()
    image.save(sink, "JPEG", quality=85)
    return sink.getvalue()
