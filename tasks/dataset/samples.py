"""Samples on disk to tensors in memory: what a payload is, and how a network receives it."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.errors import BadArtefact
from tasks.dataset.empty_split import empty_split
from tasks.dataset.feature_store import FeatureStore
from tasks.dataset.payload import Payload, payload_of, to_array
from tasks.dataset.row_weights import weights_in
from tasks.dataset.targets import Target, target_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.scratch_arrays import allocate

if TYPE_CHECKING:
    import torch

# Inputs that are decoded at a time, beside all that are decoded already.
_DECODED_BYTES = 1 << 25

# What labels and inputs mean is said of all splits together.
_OF_EVERY_SPLIT = ("payload", "classes", "target", "repeats", "weight_column")

# What this process has decoded lately, by lake, content and split.
_CACHE: OrderedDict[tuple[str, str, str], Inputs] = OrderedDict()
_CACHE_LOCK = threading.Lock()
# A trial needs two splits whatever their size; more are remembered as long as they fit into half of the run's memory.
_CACHE_SPLITS = 2


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
    label_texts: pa.Array | None = None
    """n given labels as text, where that is more than the stratum's name."""
    lengths: torch.Tensor | None = None
    """Of n texts, in tokens, int64 on the host; None of other inputs."""
    weights: torch.Tensor | None = None
    """n, float64 on the host, how much each counts in a training loss; None where all count the same, and of samples
    that are not trained on."""

    def batch(self, rows: torch.Tensor) -> torch.Tensor:
        """Inputs of some samples; of texts no more padding than the longest of them needs."""
        # Row by row; by brackets PyTorch takes one value after the other, two to eight times as long.
        x = self.x.index_select(0, rows.to(self.x.device))
        return x if self.lengths is None else x[..., : int(self.lengths[rows].max())]

    def by_length(self, rows: np.ndarray) -> np.ndarray:
        """These samples, texts of one length side by side; other inputs in the order they came in."""
        return rows if self.lengths is None else rows[np.argsort(self.lengths[rows].numpy(), kind="stable")]

    @property
    def y(self) -> torch.Tensor:
        """What a loss compares outputs with: n classes, or n × outputs."""
        return self.labels if self.values is None else self.values

    def with_own_labels(self) -> Inputs:
        """The same, but for labels and values, which are a copy that one may write to."""
        values = None if self.values is None else self.values.clone()
        return replace(self, labels=self.labels.clone(), values=values)

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
        if self.label_texts is not None:
            return self.label_texts
        return pa.array(classes, pa.string()).take(pa.array(self.labels.numpy()))


def sample_paths(run: Run, samples: Artefact, split: str = "") -> list[Path]:
    """The files of an ingested artefact (or of one of its shards): of one split, or of all."""
    return [run.path(samples, file) for file in samples.files if file.name.startswith(f"samples/{split}")]


def split_of(samples: Artefact, *splits: str) -> Artefact:
    """The samples of some splits alone: what a step is given that depends on no other."""
    return samples.subset(tuple(f"samples/{split}-" for split in splits), *_OF_EVERY_SPLIT)


def observed_shards(samples: Artefact, splits: tuple[str, ...] = ("train", "validation")) -> list[Artefact]:
    """Shards that gradients are taken of, with what these depend on: the training ones, then the validation ones."""
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
    weight_column = samples.facts.get("weight_column") if split == "train" else None
    names = ["sample_id", "label", *([weight_column] if weight_column else [])]
    thin = [pq.read_table(path, columns=names) for path in paths]
    ids = [name for table in thin for name in table["sample_id"].to_pylist()]
    labels = pa.chunked_array([chunk for table in thin for chunk in table["label"].chunks], pa.string())
    x = allocate(run, (len(ids), *payload.shape), np.dtype(payload.dtype))
    if payload.kind == "features":
        FeatureStore(run.lake, payload.encoder).fill(ids, x)
    else:
        _decode(paths, payload, x)
    tensor = torch.from_numpy(x)
    return Inputs(
        ids=np.array(ids, dtype=object),
        labels=torch.from_numpy(target.strata(labels)),
        x=tensor,
        values=target.values(labels),
        label_texts=None if target.kind == "class" else labels.combine_chunks(),
        lengths=token_lengths(tensor, pad=payload.tokens.pad) if payload.tokens else None,
        weights=weights_in(thin, weight_column) if weight_column else None,
    )


def _decode(paths: list[Path], payload: Payload, x: np.ndarray) -> None:
    at, columns = 0, list(payload.columns)
    rows = max(1, _DECODED_BYTES // max(1, x[:1].nbytes))
    for path in paths:
        with pq.ParquetFile(path) as file:
            for batch in batches_of(file, columns):
                for first in range(0, batch.num_rows, rows):
                    part = batch.select(columns).slice(first, rows)
                    x[at : at + part.num_rows] = to_array(part, payload)
                    at += part.num_rows


def batches_of(file: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    """The rows of a file of samples, none of them of two row groups, which are as heavy as ingest lets them be."""
    groups = (file.iter_batches(4096, row_groups=[i], columns=columns) for i in range(file.num_row_groups))
    return chain.from_iterable(groups)


def load_cached(run: Run, samples: Artefact, split: str) -> Inputs:
    """As ``load``, decoded once by each process that asks for the same split again, as every retraining does.

    Inputs and ids are shared and must not be written to; labels and values are the caller's own.
    """
    # What else the artefact holds plays no part: the same split is decoded once, whoever asks with what beside it.
    key = (str(run.lake), split_of(samples, split).digest, split)
    with _CACHE_LOCK:
        inputs = _CACHE.pop(key, None) or load(run, samples, split)
        inputs.ids.flags.writeable = False
        _CACHE[key] = inputs
        size = sum(other.x.nbytes for other in _CACHE.values())
        while size > run.memory // 2 and len(_CACHE) > _CACHE_SPLITS:
            size -= _CACHE.popitem(last=False)[1].x.nbytes
    return inputs.with_own_labels()


def table_of(run: Run, samples: Artefact, columns: list[str]) -> pa.Table:
    """Thin columns of all samples."""
    return pa.concat_tables([pq.read_table(path, columns=columns) for path in sample_paths(run, samples)])


def with_class(samples: Artefact, table: pa.Table) -> pa.Table:
    """The table with a column ``class``, the stratum of its labels."""
    return table.append_column("class", target_of(samples).names_of(table["label"]))


def given_texts(run: Run, samples: Artefact, ids: pa.Array) -> pa.Array:
    """The label of each of ``ids`` as it was given; every one of them must be among the training samples."""
    thin = pa.concat_tables(
        [pq.read_table(path, columns=["sample_id", "label"]) for path in sample_paths(run, samples, "train")]
    )
    index = pc.index_in(ids, value_set=thin["sample_id"].combine_chunks())
    texts = thin["label"].take(index)
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


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
    names = pa.array(ids, pa.string())
    fold = np.full(len(ids), -1, np.int16)
    with pq.ParquetFile(run.path(folds)) as file:
        for batch in file.iter_batches():
            index = pc.index_in(batch["sample_id"], value_set=names)
            in_batch = pc.is_valid(index).to_numpy(zero_copy_only=False)
            fold[index.drop_null().to_numpy()] = batch["fold"].to_numpy()[in_batch]
    return fold


def check_splits(samples: Artefact, splits: tuple[str, ...]) -> None:
    """Refuse an ingested artefact that has nothing in one of ``splits``.

    Raises:
        BadInput: with the counts by split.
    """
    counts = samples.facts["splits"]
    for split in splits:
        if not counts.get(split):
            raise empty_split(split, counts)
