"""A version as a torch dataset, also one that follows a tag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from tasks.core.errors import BadInput
from tasks.dataset.payload import Payload, to_array
from tasks.dataset.targets import read_target
from tasks.versions.contents import Rows, rows_of
from tasks.versions.history import CURRENT, History
from tasks.versions.manifest import Manifest
from tasks.versions.object_store import Objects


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


def tensors_of(rows: Rows, split: str) -> Tensors:
    """One split of a version, in memory.

    Raises:
        BadInput: the version has nothing in this split.
    """
    payload = Payload.model_validate(rows.content.payload)
    target = read_target(rows.content.target, rows.content.classes)
    xs, ys, ids, about = [], [], [], rows.content.classes
    for part, batch in rows.batches(list(dict.fromkeys(["sample_id", "label", *payload.columns]))):
        if part.split == split:
            xs.append(to_array(batch.select(list(payload.columns)), payload))
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
        store: a folder of versions, or an object store's URL.
        dataset: its name.
        version: a version, a tag or a time (tasks/versions/history.py).
        split: train, validation or test.
    """

    def __init__(self, store: str | Path, dataset: str, version: str = CURRENT, split: str = "train") -> None:
        self.history, self.name, self.split = History(Objects(store), dataset), version, split
        self.manifest: Manifest | None = None
        self.refresh()

    def refresh(self) -> bool:
        """Read again if what was asked for is another version now; whether it was."""
        manifest = self.history.resolve(self.name)
        if self.manifest is not None and manifest.version == self.manifest.version:
            return False
        with rows_of(self.history, manifest.rows_of) as rows:
            self.tensors = tensors_of(rows, self.split)
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
