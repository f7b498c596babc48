"""Canaries: which training samples have their label flipped on purpose, to what, and in which networks' training."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from pydantic import Field

from tasks.core.plugins import Component
from tasks.dataset.targets import Target
from tasks.pipeline.artefacts import Artefact, Run

# A small dataset has at least so many, up to a fifth of it: fewer measure no share.
_AT_LEAST, _AT_MOST = 50, 0.2

KINDS = ("slip", "class", "neighbour")
"""Any other class · what its class is often taken for · what its own neighbours are."""


class Canaries(Component):
    """Labels flipped on purpose during a run, so that it is known how suspect a wrong label looks, and restored.

    A canary's gradient is taken under both labels by the network that never saw it; of the f − 1 others ⌊(f − 1)/2⌋ are
    trained on it under the planted label, the rest under the given one. Scores, flags and versions know only the given.
    """

    share: float = Field(default=0.05, ge=0, le=0.3, description="Share of the training samples; 0 plants none.")
    seed: int = Field(default=0, ge=-(2**63), lt=2**63, description="Seed of the draw.")

    def draw(self, draws: np.ndarray) -> np.ndarray:
        """Which samples are canaries, by one uniform draw each."""
        if not self.share:
            return np.zeros(len(draws), bool)
        rate = max(self.share, min(_AT_MOST, _AT_LEAST / max(len(draws), 1)))
        # One at least, whatever the draws: a handful of samples would else have none, run after run.
        return draws <= max(rate, draws.min(initial=1.0))


class CanaryLabels(NamedTuple):
    """The canaries of a run."""

    ids: np.ndarray
    labels: np.ndarray
    """Planted stratum, int64."""
    kinds: np.ndarray
    """int8, an index of ``KINDS``."""
    networks: np.ndarray
    """m × f, whether the fold's network is trained on the planted label."""
    text: pa.Array
    """Planted label, as text."""

    def __len__(self) -> int:
        return len(self.ids)

    @classmethod
    def none(cls, folds: int) -> CanaryLabels:
        """No canary at all."""
        empty = np.zeros(0, np.int64)
        return cls(
            empty.astype(object), empty, empty.astype(np.int8), np.zeros((0, folds), bool), pa.array([], pa.string())
        )


def canary_labels_of(run: Run, canaries: Artefact, target: Target) -> CanaryLabels:
    """Read ``canaries.parquet``."""
    table = pq.read_table(run.path(canaries))
    text = table["planted_label"].combine_chunks()
    networks = table["networks"].combine_chunks()
    flat = networks.flatten().to_numpy(zero_copy_only=False)
    return CanaryLabels(
        np.array(table["sample_id"].to_pylist(), dtype=object),
        target.strata(text),
        pc.index_in(table["kind"], value_set=pa.array(KINDS)).to_numpy().astype(np.int8),
        flat.reshape(table.num_rows, networks.type.list_size).astype(bool),
        text,
    )


def indices_among(ids: np.ndarray, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows of ``ids`` that stand in ``among``, their positions there)."""
    index = pc.index_in(pa.array(ids, pa.string()), value_set=pa.array(among, pa.string()))
    return np.flatnonzero(index.is_valid().to_numpy(zero_copy_only=False)), index.drop_null().to_numpy()
