"""Samples on disk to tensors in memory: what a payload is, and how a network receives it."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, SerializerFunctionWrapHandler, model_serializer

from tasks.core.errors import BadArtefact, BadInput
from tasks.dataset import images
from tasks.dataset.targets import Target, target_of
from tasks.dataset.tokenizer import Tokens
from tasks.pipeline.artefacts import Artefact, Run

if TYPE_CHECKING:
    import torch

# Inputs up to this size are held in memory; larger ones in a scratch file that the operating system pages in and out.
_IN_MEMORY_BYTES = 4 << 30

# What labels and inputs mean is said of all splits together.
_OF_EVERY_SPLIT = ("payload", "classes", "target")

# What this process has decoded lately, by lake, content and split.
_REMEMBERED: OrderedDict[tuple[str, str, str], Inputs] = OrderedDict()
_REMEMBERING = threading.Lock()
# A trial needs two splits whatever their size; more are remembered as long as they fit.
_REMEMBERED_SPLITS, _REMEMBERED_BYTES = 2, 2 << 30


class Payload(BaseModel):
    """How a dataset's own columns become one network input.

    ``array``: the columns, in order, each a number or a fixed-size list, side by side, as ``shape``.
    ``image``: one column of encoded images, decoded to ``shape`` = (C, H, W).
    ``tokens``: one column of text, or two that are read as a pair, as the ids of ``shape`` = (length,) or (2, length)
    that ``tokens`` makes of them: numbers that name and do not measure, so nothing standardises them. The second of the
    two may be ``label``, of prompts and the responses to them: what a model is to answer is then part of its input.
    """

    model_config = ConfigDict(frozen=True)
    kind: Literal["array", "image", "tokens"]
    columns: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: Literal["uint8", "int8", "int32", "float32"]
    resize: bool = False
    tokens: Tokens | None = None

    @property
    def own(self) -> list[str]:
        """The columns that are the sample's whatever its label: what it is known by."""
        return [name for name in self.columns if name != "label"]

    @property
    def is_image(self) -> bool:
        """Whether the input has channels and two axes."""
        return len(self.shape) == 3

    @model_serializer(mode="wrap")
    def _without_what_it_lacks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Payloads without text read as they did before there was any: digests of earlier versions stay what they are.
        said: dict[str, Any] = serialize(self)
        return {name: value for name, value in said.items() if name != "tokens" or value is not None}

    def blank(self, n: int) -> torch.Tensor:
        """n inputs of nothing but zeros, of the type a network receives."""
        import torch

        return torch.zeros(n, *self.shape, dtype=torch.int32 if self.tokens else torch.float32)


def payload_of(samples: Artefact) -> Payload:
    """The payload that an ingested artefact declares."""
    return Payload.model_validate(samples.facts["payload"])


@dataclass(frozen=True)
class Inputs:
    """Samples ready to be fed to a network, in the order of the table they came from."""

    ids: np.ndarray
    """n sample ids (object array of str)."""
    labels: torch.Tensor
    """n strata, int64; positions in the artefact's ``classes``."""
    x: torch.Tensor
    """n × shape, in the payload's dtype: networks standardise, so pixels travel as bytes."""
    values: torch.Tensor | None = None
    """n × outputs, what a loss compares with, where that is not the stratum (tasks/dataset/targets)."""
    given: pa.Array | None = None
    """n labels as text, where that is more than the stratum's name."""
    lengths: torch.Tensor | None = None
    """Of n texts, in tokens, int64 on the host; None of other inputs."""

    def batch(self, rows: torch.Tensor) -> torch.Tensor:
        """Inputs of some samples; of texts no more padding than the longest of them needs."""
        x = self.x[rows]
        return x if self.lengths is None else x[..., : int(self.lengths[rows].max())]

    def by_length(self, rows: np.ndarray) -> np.ndarray:
        """These samples, texts of one length side by side; other inputs in the order they came in."""
        return rows if self.lengths is None else rows[np.argsort(self.lengths[rows].numpy(), kind="stable")]

    @property
    def y(self) -> torch.Tensor:
        """What a loss compares outputs with: n classes, or n × outputs."""
        return self.labels if self.values is None else self.values

    def relabel(self, rows: np.ndarray, labels: pa.Array, target: Target) -> None:
        """Give the samples ``rows`` other labels, in place."""
        import torch

        at = torch.from_numpy(rows)
        self.labels[at] = torch.from_numpy(target.strata(labels))
        values = target.values(labels)
        if self.values is not None and values is not None:
            self.values[at] = values

    def text(self, classes: list[str]) -> pa.Array:
        """The labels as they were given."""
        if self.given is not None:
            return self.given
        return pa.array(classes, pa.string()).take(pa.array(self.labels.numpy()))


def sample_paths(run: Run, samples: Artefact, split: str = "") -> list[Path]:
    """The files of an ingested artefact (or of one of its shards): of one split, or of all."""
    return [run.path(samples, file) for file in samples.files if file.name.startswith(f"samples/{split}")]


def split_of(samples: Artefact, *splits: str) -> Artefact:
    """The samples of some splits alone: what a step is given that depends on no other."""
    return samples.subset(tuple(f"samples/{split}-" for split in splits), *_OF_EVERY_SPLIT)


def observed_shards(samples: Artefact) -> list[Artefact]:
    """Shards that gradients are taken of, with what these depend on: the training ones, then the validation ones."""
    splits = ("train", "validation")
    return [shard for split in splits for shard in samples.shards(f"samples/{split}-", *_OF_EVERY_SPLIT)]


def load(run: Run, samples: Artefact, split: str) -> Inputs:
    """Load one split of an ingested artefact, or of one of its shards.

    Args:
        run: whose lake to read.
        samples: the ingested artefact.
        split: ``train``, ``validation`` or ``test``.
    """
    import torch

    from tasks.kernels.tokens import lengths as token_lengths

    payload, target = payload_of(samples), target_of(samples)
    paths = sample_paths(run, samples, split)
    thin = [pq.read_table(path, columns=["sample_id", "label"]) for path in paths]
    ids = [name for table in thin for name in table["sample_id"].to_pylist()]
    labels = pa.chunked_array([chunk for table in thin for chunk in table["label"].chunks], pa.string())
    x = _allocate((len(ids), *payload.shape), np.dtype(payload.dtype), run.lake)
    at = 0
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=4096, columns=list(payload.columns)):
                x[at : at + batch.num_rows] = to_array(batch.select(list(payload.columns)), payload)
                at += batch.num_rows
    tensor = torch.from_numpy(x)
    return Inputs(
        ids=np.array(ids, dtype=object),
        labels=torch.from_numpy(target.strata(labels)),
        x=tensor,
        values=target.values(labels),
        given=None if target.kind == "class" else labels.combine_chunks(),
        lengths=token_lengths(tensor, pad=payload.tokens.pad) if payload.tokens else None,
    )


def remembered(run: Run, samples: Artefact, split: str) -> Inputs:
    """As ``load``, decoded once by each process that asks for the same split again, as every retraining does.

    Inputs and ids are shared and must not be written to; labels and values are the caller's own.
    """
    key = (str(run.lake), samples.digest, split)
    with _REMEMBERING:
        found = _REMEMBERED.pop(key, None) or load(run, samples, split)
        found.ids.flags.writeable = False
        _REMEMBERED[key] = found
        held = sum(inputs.x.nbytes for inputs in _REMEMBERED.values())
        while held > _REMEMBERED_BYTES and len(_REMEMBERED) > _REMEMBERED_SPLITS:
            held -= _REMEMBERED.popitem(last=False)[1].x.nbytes
    values = None if found.values is None else found.values.clone()
    return replace(found, labels=found.labels.clone(), values=values)


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
    if payload.tokens:
        return payload.tokens.encode([column.to_pylist() for column in batch.columns], payload.shape)
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
    return pa.concat_tables([pq.read_table(path, columns=columns) for path in sample_paths(run, samples)])


def classed(samples: Artefact, table: pa.Table) -> pa.Table:
    """The table with a column ``class``, the stratum of its labels."""
    return table.append_column("class", target_of(samples).named(table["label"]))


def given_texts(run: Run, samples: Artefact, ids: pa.Array) -> pa.Array:
    """The label of each of ``ids`` as it was given; every one of them must be among the training samples."""
    thin = pa.concat_tables(
        [pq.read_table(path, columns=["sample_id", "label"]) for path in sample_paths(run, samples, "train")]
    )
    index = pc.index_in(ids, value_set=thin["sample_id"].combine_chunks())
    taken = thin["label"].take(index)
    return taken.combine_chunks() if isinstance(taken, pa.ChunkedArray) else taken


def fold_of(run: Run, folds: Artefact, ids: np.ndarray) -> np.ndarray:
    """The cross-fitting fold of each of ``ids``, int16.

    Raises:
        BadArtefact: a sample has no fold.
    """
    fold = known_folds(run, folds, ids)
    if (fold < 0).any():
        raise BadArtefact(
            where=folds.folder,
            expected="a fold for every training sample",
            got=f"none for {ids[int(np.argmin(fold))]}",
            do=f"Delete the folder {folds.folder} in the lake and run again.",
        )
    return fold


def in_base_of(run: Run, folds: Artefact, ids: np.ndarray | pa.Array) -> np.ndarray:
    """Whether the run whose networks these are had each of ``ids``, under its label, n bool; without a base, all."""
    table = pq.read_table(run.path(folds), columns=["sample_id", "new"])
    new = table.filter(table["new"])["sample_id"].combine_chunks().cast(pa.string())
    return pc.invert(pc.is_in(pa.array(ids, pa.string()), value_set=new)).to_numpy(zero_copy_only=False)


def known_folds(run: Run, folds: Artefact, ids: np.ndarray) -> np.ndarray:
    """The fold of each of ``ids``, int16, −1 where the table has none; read in pieces, whatever its length."""
    wanted = pa.array(ids, pa.string())
    fold = np.full(len(ids), -1, np.int16)
    with pq.ParquetFile(run.path(folds)) as file:
        for batch in file.iter_batches():
            index = pc.index_in(batch["sample_id"], value_set=wanted)
            known = pc.is_valid(index).to_numpy(zero_copy_only=False)
            fold[index.drop_null().to_numpy()] = batch["fold"].to_numpy()[known]
    return fold


def check_splits(samples: Artefact, splits: tuple[str, ...]) -> None:
    """Refuse an ingested artefact that has nothing in one of ``splits``.

    Raises:
        BadInput: with the counts by split.
    """
    counts = samples.facts["splits"]
    for split in splits:
        if counts.get(split):
            continue
        named = f"Name a split column or a {split} file"
        raise BadInput(
            where=f"split {split!r}",
            expected="at least one sample",
            got=f"none ({', '.join(f'{name} {n:,}' for name, n in counts.items())})",
            do=f"{named}." if split == "train" else f"{named}, or set {split}_share above 0.",
        )
