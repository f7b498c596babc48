"""Samples on disk to tensors in memory: what a payload is, and how a network receives it."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from tasks import images
from tasks.artefacts import Artefact, Run
from tasks.errors import BadInput

if TYPE_CHECKING:
    import torch

# Inputs up to this size are held in memory; larger ones in a scratch file that the operating system pages in and out.
_IN_MEMORY_BYTES = 4 << 30


class Payload(BaseModel):
    """How a dataset's own columns become one network input.

    ``array``: the columns, in order, each a number or a fixed-size list, side by side, as ``shape``.
    ``image``: one column of encoded images, decoded to ``shape`` = (C, H, W).
    """

    model_config = ConfigDict(frozen=True)
    kind: Literal["array", "image"]
    columns: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: Literal["uint8", "int8", "float32"]
    resize: bool = False

    @property
    def is_image(self) -> bool:
        """Whether the input has channels and two axes."""
        return len(self.shape) == 3


def payload_of(samples: Artefact) -> Payload:
    """The payload that an ingested artefact declares."""
    return Payload.model_validate(samples.facts["payload"])


@dataclass(frozen=True)
class Inputs:
    """Samples ready to be fed to a network, in the order of the table they came from."""

    ids: np.ndarray
    """n sample ids (object array of str)."""
    labels: torch.Tensor
    """n class indices, int64; positions in the artefact's ``classes``."""
    x: torch.Tensor
    """n × shape, in the payload's dtype: networks standardise, so pixels travel as bytes."""


def load(run: Run, samples: Artefact, split: str, *, without: set[str] | None = None) -> Inputs:
    """Load one split of an ingested artefact (or of one of its shards).

    Args:
        run: whose lake to read.
        samples: the ingested artefact.
        split: ``train``, ``validation`` or ``test``.
        without: sample ids to leave out.
    """
    import torch

    payload = payload_of(samples)
    paths = run.paths(samples, ".parquet")
    paths = [path for path in paths if path.parent.name == "samples"]
    index = {label: i for i, label in enumerate(samples.facts["classes"])}
    thin = [pq.read_table(path, columns=["sample_id", "split", "label"]) for path in paths]
    keep = [_kept(table, split, without) for table in thin]
    n = int(sum(mask.sum() for mask in keep))
    ids = np.concatenate(
        [np.asarray(t["sample_id"].to_pylist(), dtype=object)[m] for t, m in zip(thin, keep, strict=True)]
    )
    labels = np.concatenate(
        [[index[v] for v in t["label"].filter(pa.array(m)).to_pylist()] for t, m in zip(thin, keep, strict=True)]
    )
    x = _allocate((n, *payload.shape), np.dtype(payload.dtype), run.lake)
    at = 0
    for path, mask in zip(paths, keep, strict=True):
        first = 0
        for batch in pq.ParquetFile(path).iter_batches(batch_size=4096, columns=list(payload.columns)):
            kept = batch.filter(pa.array(mask[first : first + batch.num_rows]))
            first += batch.num_rows
            x[at : at + kept.num_rows] = to_array(kept, payload)
            at += kept.num_rows
    return Inputs(ids=ids, labels=torch.from_numpy(labels.astype(np.int64)), x=torch.from_numpy(x))


def _kept(table: pa.Table, split: str, without: set[str] | None) -> np.ndarray:
    mask = pc.equal(table["split"], split)
    if without:
        mask = pc.and_(mask, pc.invert(pc.is_in(table["sample_id"], value_set=pa.array(sorted(without)))))
    return mask.to_numpy()


def _allocate(shape: tuple[int, ...], dtype: np.dtype, lake: Path) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    if size <= _IN_MEMORY_BYTES:
        return np.empty(shape, dtype)
    # Unlinked at once: the space is freed when the array is dropped, even by a kill.
    with tempfile.TemporaryFile(dir=lake / "cache") as scratch:
        scratch.truncate(size)
        return np.memmap(scratch, dtype=dtype, mode="r+", shape=shape)


def to_array(batch: pa.RecordBatch, payload: Payload) -> np.ndarray:
    """Payload columns of a record batch as one n × shape array in the payload's dtype."""
    if payload.kind == "image":
        data = batch.column(0).to_pylist()
        pixels = [images.decode(item, payload.shape, resize=payload.resize) for item in data]
        return np.stack(pixels) if pixels else np.empty((0, *payload.shape), np.uint8)
    columns = [column_values(column).astype(payload.dtype, copy=False) for column in batch.columns]
    flat = columns[0] if len(columns) == 1 else np.concatenate(columns, axis=1)
    return flat.reshape(batch.num_rows, *payload.shape)


def column_values(column: pa.Array) -> np.ndarray:
    """A numeric or fixed-size list column without nulls as an n × width array; no copy where Arrow allows it."""
    if pa.types.is_fixed_size_list(column.type):
        # flatten(), not .values: .values ignores the offset of a sliced array.
        values = column.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(column), column.type.list_size)
    return column.to_numpy(zero_copy_only=False).reshape(-1, 1)


def table_of(run: Run, samples: Artefact, columns: list[str]) -> pa.Table:
    """Thin columns of all samples."""
    paths = [path for path in run.paths(samples, ".parquet") if path.parent.name == "samples"]
    return pa.concat_tables([pq.read_table(path, columns=columns) for path in paths])


def check_split(samples: Artefact, split: str) -> None:
    """Refuse an artefact that has nothing in ``split``.

    Raises:
        BadInput: with the counts by split.
    """
    counts = samples.facts["splits"]
    if not counts.get(split):
        raise BadInput(
            where=f"split {split!r}",
            expected="at least one sample",
            got=f"none ({', '.join(f'{name} {n:,}' for name, n in counts.items())})",
            do="Name a split column or a test file, or leave test_share above 0.",
        )
