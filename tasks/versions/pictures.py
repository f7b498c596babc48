"""Samples that are images, small enough for a page."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import base64
import io

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from PIL import Image

from tasks.samples import Payload, to_array
from tasks.versions.contents import Rows

# Longer side of a picture, in pixels.
_LONGEST = 96


def pictures(rows: Rows, ids: list[str]) -> dict[str, str]:
    """sample_id → its picture as a data URI, of those ``ids`` that are in a content's parts, removed ones too.

    Nothing for samples that are no images: 1 or 3 channels by two axes.
    """
    payload = Payload.model_validate(rows.content.payload)
    if not payload.is_image or payload.shape[0] not in (1, 3):
        return {}
    wanted = pa.array(ids, pa.string())
    found: dict[str, str] = {}
    for part in rows.content.parts:
        with pq.ParquetFile(rows.file(part.path)) as file:
            if not pc.any(pc.is_in(file.read(columns=["sample_id"])["sample_id"], value_set=wanted)).as_py():
                continue
            for batch in file.iter_batches(batch_size=1024, columns=["sample_id", *payload.columns]):
                batch = batch.filter(pc.is_in(batch["sample_id"], value_set=wanted))
                pixels = to_array(batch.select(list(payload.columns)), payload)
                found |= zip(batch["sample_id"].to_pylist(), map(_as_uri, pixels), strict=True)
    return found


def _as_uri(pixels: np.ndarray) -> str:
    """C × H × W as a PNG; values that are no bytes, and dim bytes, are stretched to all of the range."""
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype != np.uint8 or high < 64:
        pixels = ((pixels - low) * (255 / max(high - low, 1e-9))).astype(np.uint8)
    image = Image.fromarray(pixels[0] if pixels.shape[0] == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))
    image.thumbnail((_LONGEST, _LONGEST))
    sink = io.BytesIO()
    image.save(sink, "PNG")
    return f"data:image/png;base64,{base64.b64encode(sink.getvalue()).decode()}"
