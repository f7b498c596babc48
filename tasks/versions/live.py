"""A version as a torch dataset, also one that follows a tag."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from torch.utils.data import Dataset

from tasks.core.errors import BadInput
from tasks.dataset.encoders.frozen import Embed, FrozenEncoder
from tasks.dataset.feature_store import FeatureStore, contents_of
from tasks.dataset.payload import Payload, to_array
from tasks.dataset.targets import read_target
from tasks.versions.address import follow
from tasks.versions.contents import Rows, rows_of
from tasks.versions.history import CURRENT, History
from tasks.versions.manifest import Manifest
from tasks.versions.object_store import Objects

# Samples that an encoder is given at a time.
_CELLS = 64


@dataclass(frozen=True)
class Tensors:
    """One split of a version."""

    x: torch.Tensor
    """n × shape, in the payload's dtype"""
    y: torch.Tensor
    """n positions among ``classes``, int64; n × 1 numbers; or n × labels ones and zeros, in the order of ``classes``"""
    ids: list[str]
    classes: tuple[str, ...]
    """What ``y`` is about: the classes, the labels, or ``number``."""


class Vectors:
    """What a frozen encoder makes of a version's rows: out of the lake's store, and the rest anew.

    Args:
        encoder: of the rows.
        lake: that holds the store.
    """

    def __init__(self, encoder: FrozenEncoder, lake: Path) -> None:
        self.encoder, self.lake = encoder, lake
        self._embed: Embed | None = None

    def of(self, batch: pa.RecordBatch, payload: Payload) -> np.ndarray:
        """n × d of a batch with the payload's columns and sample_id."""
        store = FeatureStore(self.lake, self.encoder.key(payload))
        ids = batch["sample_id"].to_pylist()
        is_known = pc.is_in(contents_of(ids), value_set=store.known()).to_numpy(zero_copy_only=False)
        if is_known.all():
            vectors = np.empty((len(ids), store.width), np.float32)
            store.fill(ids, vectors)
            return vectors
        self._embed = self._embed or self.encoder.embedder(torch.device("cpu"))
        cells = self.encoder.cells(batch.select(list(payload.columns)), payload)
        return np.concatenate([self._embed(cells[at : at + _CELLS]).numpy() for at in range(0, len(cells), _CELLS)])


def tensors_of(rows: Rows, split: str, vectors: Vectors | None = None) -> Tensors:
    """One split of a version, in memory; with ``vectors`` as a frozen encoder sees it.

    Raises:
        BadInput: the version has nothing in this split.
    """
    payload = Payload.model_validate(rows.content.payload)
    target = read_target(rows.content.target, rows.content.classes)
    xs, ys, ids, about = [], [], [], rows.content.classes
    for part, batch in rows.batches(list(dict.fromkeys(["sample_id", "label", *payload.columns]))):
        if part.split == split:
            inputs = batch.select(list(payload.columns))
            xs.append(to_array(inputs, payload) if vectors is None else vectors.of(batch, payload))
            y, about = target.export(batch["label"])
            ys.append(y)
            ids += batch["sample_id"].to_pylist()
    if not ids:
        splits = sorted({part.split for part in rows.content.parts})
        raise BadInput(
            where=f"split {split!r}", expected=f"one of {', '.join(splits)}", got="no sample in it", do="Name another."
        )
    return Tensors(torch.from_numpy(np.concatenate(xs)), torch.cat(ys), ids, about)


class LiveDataset(Dataset[tuple[torch.Tensor, int | torch.Tensor]]):
    """The samples a version keeps, under the labels it gives them: (x, class), or (x, values), by position.

        train = LiveDataset("data/versions", "digits")           # whatever ``current`` is
        ...                                                       # an epoch, a night
        train.refresh()                                           # True: ``current`` has moved, and this with it

    Args:
        store: a folder of versions, or an object store's URL; a lake's folder leads to where it remembers them to lie.
        dataset: its name.
        version: a version, a tag or a time (tasks/versions/history.py).
        split: train, validation or test.
        encoder: a frozen encoder, whose vectors x are then; out of the lake's store where a run has made them.
    """

    def __init__(
        self,
        store: str | Path,
        dataset: str,
        version: str = CURRENT,
        split: str = "train",
        encoder: FrozenEncoder | None = None,
    ) -> None:
        self.vectors = None if encoder is None else Vectors(encoder, Path(store).parent)
        self.history, self.name, self.split = History(follow(Objects(store), dataset), dataset), version, split
        self.manifest: Manifest | None = None
        self.refresh()

    def refresh(self) -> bool:
        """Read again if what was asked for is another version now; whether it was."""
        manifest = self.history.resolve(self.name)
        if self.manifest is not None and manifest.version == self.manifest.version:
            return False
        with rows_of(self.history, manifest.rows_of) as rows:
            self.tensors = tensors_of(rows, self.split, self.vectors)
        self.manifest = manifest
        return True

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self.tensors.classes

    def __len__(self) -> int:
        return len(self.tensors.ids)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int | torch.Tensor]:
        y = self.tensors.y[index]
        return self.tensors.x[index], int(y) if y.dim() == 0 else y
