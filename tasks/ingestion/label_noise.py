"""Label noise, planted on the training split between and in the second pass of ingest.

Whether and whereto a label flips follows from (the sample's inputs, its id, the seed) alone: the order of the rows
changes nothing, and every batch is done by itself. Only an exact number of flips needs a look at all ids beforehand.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tasks.core.errors import BadConfig
from tasks.dataset.payload import Payload, to_array
from tasks.dataset.sample_ids import uniforms
from tasks.ingestion.readers import Noise
from tasks.ingestion.spool import Spool
from tasks.ingestion.survey import Survey

if TYPE_CHECKING:
    from tasks.kernels.noise import InstanceTargets

# Input values decoded at a time; 4,096 colour images of 224 × 224 at once would be 5 GB as float64.
_VALUES = 1 << 23
# Buckets that tokens are counted in where noise follows from a text.
_BUCKETS = 1024


@dataclass(frozen=True)
class LabelNoise:
    """The flips of one dataset."""

    noise: Noise
    payload: Payload
    classes: list[str]
    cutoff: float
    """A training label flips when its sample's draw (``flip_draws``) is below this."""
    pool: list[str] | None = None
    """Labels that are no classes flip to any other of these, uniformly."""

    def plant(self, batch: pa.RecordBatch, ids: list[str], keep: np.ndarray) -> tuple[pa.Array, pa.Array, int]:
        """Labels after the flips, the clean ones beside them, and how many flips there are.

        A clean label that the source knows stays what it is.

        Args:
            batch: rows of the spool, payload included.
            ids: their final ids.
            keep: which of them become samples.
        """
        names = self.classes if self.pool is None else self.pool
        index = {label: i for i, label in enumerate(names)}
        labels_before = batch["label"].to_pylist()
        indices = np.array([index.get(label, 0) for label in labels_before], np.int64)
        draws = np.where(_is_train(batch) & keep, flip_draws(ids, self.noise), np.inf)
        targets = self._flip(batch, ids, indices, draws)
        is_flip = targets != indices
        new = [names[f] if c else g for f, c, g in zip(targets, is_flip, labels_before, strict=True)]
        truths = batch["clean_label"].to_pylist()
        clean = [g if truth is None else truth for truth, g in zip(truths, labels_before, strict=True)]
        return pa.array(new, pa.string()), pa.array(clean, pa.string()), int(is_flip.sum())

    def _flip(self, batch: pa.RecordBatch, ids: list[str], labels: np.ndarray, draws: np.ndarray) -> np.ndarray:
        from tasks.kernels.noise import flip_labels  # torch: not before a label is to be flipped

        k = len(self.classes if self.pool is None else self.pool)
        _, choose = uniforms(ids, self.noise.seed)
        if self.noise.kind != "instance":
            symmetric = self.noise.kind == "symmetric"
            return flip_labels(labels, draws, choose, share=self.cutoff, classes=k, symmetric=symmetric)
        flips = np.flatnonzero(draws < self.cutoff)  # only their inputs are decoded
        inputs = batch.select(list(self.payload.columns)).take(pa.array(flips))
        step = max(1, _VALUES // self._targets.inputs)
        targets = labels.copy()
        for first in range(0, len(flips), step):
            at = flips[first : first + step]
            x = self._features(to_array(inputs.slice(first, step), self.payload))
            targets[at] = self._targets(x, labels[at], choose[at])
        return targets

    def _features(self, x: np.ndarray) -> np.ndarray:
        if self.payload.tokens is None:
            return x.reshape(len(x), -1).astype(np.float64)
        import torch

        from tasks.kernels.tokens import bag

        return bag(torch.from_numpy(x), pad=self.payload.tokens.pad, width=_BUCKETS).double().numpy()

    @cached_property
    def _targets(self) -> InstanceTargets:
        from tasks.kernels.noise import InstanceTargets

        inputs = _BUCKETS if self.payload.tokens else int(np.prod(self.payload.shape))
        # The brightness of an image says little; two or three columns less their mean would say almost nothing.
        return InstanceTargets(inputs, len(self.classes), self.noise.seed, centre=self.payload.is_image)


def label_noise_of(spool: Spool, survey: Survey, noise: Noise, payload: Payload) -> LabelNoise | None:
    """The flips that ``noise`` asks for on what the first pass spooled; None when it asks for none."""
    if not noise.share:
        return None
    expected = 1.0 if noise.kind == "instance" else noise.share
    cutoff = _exact_cutoff(spool, survey, noise) if noise.exact else expected
    classes = survey.target.kind == "class"
    if not classes and noise.kind != "symmetric":
        raise BadConfig(
            where="option reader.noise.kind",
            expected=f"symmetric: labels of the kind {survey.target.kind} flip to any other there is",
            got=noise.kind,
            do="Leave it out.",
        )
    return LabelNoise(noise, payload, list(survey.target.classes), cutoff, None if classes else survey.pool)


def flip_draws(ids: list[str], noise: Noise) -> np.ndarray:
    """A number for each sample; the smaller, the sooner its label flips.

    Uniform u in [0, 1), to be compared with the share; for instance-dependent noise u / q, q the sample's own flip
    rate, to be compared with 1.
    """
    decide, _ = uniforms(ids, noise.seed)
    if noise.kind != "instance":
        return decide
    rate, _ = uniforms(ids, noise.seed, b"flip rate")
    from tasks.kernels.noise import flip_rates

    return decide / np.maximum(flip_rates(rate, share=noise.share), np.finfo(float).tiny)


def _exact_cutoff(spool: Spool, survey: Survey, noise: Noise) -> float:
    """The draw below which round(share · n) of the n training samples lie; one float per sample in memory."""
    draws, index = [], 0
    for batch in spool.batches(["sample_id", "split"]):
        train = _is_train(batch) & survey.keep_mask(index, batch.num_rows)
        ids = survey.names(index, batch["sample_id"].to_pylist())
        draws.append(flip_draws([ids[i] for i in np.flatnonzero(train)], noise))
        index += batch.num_rows
    every = np.concatenate(draws)
    flips = round(noise.share * len(every))
    return float(np.partition(every, flips)[flips]) if flips < len(every) else np.inf


def _is_train(batch: pa.RecordBatch) -> np.ndarray:
    return np.array([split == "train" for split in batch["split"].to_pylist()], bool)
