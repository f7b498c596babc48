"""Samples that a person can look at: images as their source has them, small enough for a page, and short texts."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from tasks.dataset import images
from tasks.dataset.payload import Payload, to_array
from tasks.versions.contents import Rows

# Longer side of a picture on a card of a difference, in pixels; characters of a text.
_LONGEST, _CHARACTERS = 96, 400
# Up to this side a picture is drawn pixel by pixel: it stays as it is, and a page scales it up with hard edges.
PIXEL_ART = 64
_QUALITY = 80


def has_pictures(payload: Payload) -> bool:
    """Whether samples are images that a page can show: 1 or 3 channels by two axes."""
    return payload.is_image and payload.shape[0] in (1, 3)


def batches_of(paths: Iterable[Path], ids: list[str], columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of ``ids`` in Parquet files; the other columns are read only of row groups where one of them is.

    Args:
        paths: of the files.
        ids: wanted sample_ids.
        columns: of the batches, sample_id among them.
    """
    names = pa.array(ids, pa.string())
    for path in paths:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                ids_of_group = file.read_row_group(group, columns=["sample_id"])["sample_id"]
                if not pc.any(pc.is_in(ids_of_group, value_set=names)).as_py():
                    continue
                for batch in file.iter_batches(batch_size=1024, row_groups=[group], columns=columns):
                    batch = batch.filter(pc.is_in(batch["sample_id"], value_set=names))
                    if batch.num_rows:
                        yield batch


def pictures(rows: Rows, ids: list[str]) -> dict[str, str]:
    """sample_id → its picture as a data URI, of those ``ids`` that are in a content's parts, removed ones too.

    Nothing for samples that are no images.
    """
    payload = Payload.model_validate(rows.content.payload)
    paths = [rows.file(part.path) for part in rows.content.parts]
    columns = picture_columns(payload, pq.read_schema(paths[0])) if paths else []
    uris: dict[str, str] = {}
    for batch in batches_of(paths, ids, ["sample_id", *columns]) if columns else ():
        images_of = zip(batch["sample_id"].to_pylist(), open_pictures(batch, payload, columns), strict=True)
        uris |= {name: as_uri(image, _LONGEST) for name, image in images_of if image is not None}
    return uris


def texts(rows: Rows, ids: list[str]) -> dict[str, list[str]]:
    """sample_id → its text, or both texts of a pair, as ``pictures``; nothing for samples that are none."""
    payload = Payload.model_validate(rows.content.payload)
    if payload.tokens is None:
        return {}
    result: dict[str, list[str]] = {}
    paths = (rows.file(part.path) for part in rows.content.parts)
    for batch in batches_of(paths, ids, ["sample_id", *payload.columns]):
        columns = [[shorten(text) for text in batch[name].to_pylist()] for name in payload.columns]
        result |= zip(batch["sample_id"].to_pylist(), map(list, zip(*columns, strict=True)), strict=True)
    return result


def shorten(text: str, letters: int = _CHARACTERS) -> str:
    """A text as a card has room for it."""
    return text if len(text) <= letters else f"{text[:letters].rstrip()} …"


def as_uri(image: Image.Image, longest: int) -> str:
    """An image in its own proportions as a data URI, scaled down to ``longest`` pixels; a tiny one as it is."""
    if max(image.size) <= PIXEL_ART:
        return _uri(image if image.mode in ("L", "RGB", "RGBA") else image.convert("RGB"), "PNG")
    small = image.convert("RGB")
    small.thumbnail((longest, longest), Image.Resampling.LANCZOS)
    return _uri(small, "WEBP", quality=_QUALITY)


def _uri(image: Image.Image, form: str, **options: int) -> str:
    sink = io.BytesIO()
    image.save(sink, form, **options)
    return f"data:image/{form.lower()};base64,{base64.b64encode(sink.getvalue()).decode()}"


def as_image(pixels: np.ndarray) -> Image.Image:
    """C × H × W as an image; values that are no bytes, and dim bytes, are stretched to all of the range."""
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype != np.uint8 or high < 64:
        pixels = ((pixels - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    return images.from_pixels(pixels)


def picture_columns(payload: Payload, schema: pa.Schema) -> list[str]:
    """The columns that samples are pictures by; none of samples that are no pictures.

    Their encoded bytes where there are any, as their source has them, also beside what a network receives; else the
    pixels of a network's input.
    """
    encoded = payload.columns[0] if payload.kind == "image" else "image"
    if encoded in schema.names and _is_binary(schema.field(encoded).type):
        return [encoded]
    return list(payload.columns) if has_pictures(payload) else []


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def open_pictures(batch: pa.RecordBatch, payload: Payload, columns: list[str]) -> Iterator[Image.Image | None]:
    """The picture of each row, by ``picture_columns``; None where there is none that opens."""
    if len(columns) == 1 and _is_binary(batch.schema.field(columns[0]).type):
        yield from map(_opened, batch[columns[0]].to_pylist())
    else:
        yield from map(as_image, to_array(batch.select(columns), payload))


def _opened(data: bytes | None) -> Image.Image | None:
    try:
        return None if data is None else images.open_picture(data)
    except ValueError:
        return None
