"""What detectors of gradient matrices share: which rows, how wide, and how much memory they may take."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from tasks.core.errors import BadArtefact
from tasks.gradients.shards import GradientShards
from tasks.scoring.detectors import Detector

if TYPE_CHECKING:
    from tasks.kernels.projections import Projection


class Dense(Detector):
    """Holds n × width float32: the rows of ``matrix``, and nothing else of the gradients but one block.

    A gradient of more than ``width`` values is projected by a CountSketch (tasks/kernels/projections.py): each value is
    added to one of ``width`` sums under a random sign, so E⟨Sg, Sg'⟩ = ⟨g, g'⟩ with a variance of order 1/width. Of all
    projections it is the cheapest, n · p additions, and a row's values do not depend on the block it is read in.
    """

    on: Literal["raw", "normalised"] = Field(
        default="raw", description="normalised: each gradient is divided by its L2 norm, so that only directions count."
    )
    width: int | None = Field(
        default=None,
        ge=1,
        description="Longer gradients are projected to this many values; none: to as many as the detector can afford.",
    )
    seed: int = Field(default=0, ge=0, lt=2**32, description="Seed of the projection and of whatever else is drawn.")

    @property
    def affordable(self) -> int:
        """Values that longer gradients are projected to where no ``width`` is set."""
        return 256

    def matrix(self, gradients: GradientShards, ranks: np.ndarray | None = None) -> np.ndarray:
        """Gradients of some samples (of all, by default) as rows: len(ranks) × width float32, in that order.

        Args:
            gradients: read block by block.
            ranks: of the samples, each at most once.

        Raises:
            BadArtefact: the matrix would be larger than the run's memory_gib.
        """
        import torch

        from tasks.kernels.projections import Projection

        p = gradients.dimensions
        n, width = len(gradients) if ranks is None else len(ranks), min(p, self.width or self.affordable)
        self._fits(n, width, gradients.largest)
        index = np.arange(len(gradients))
        if ranks is not None:
            index = np.full(len(gradients), -1)
            index[ranks] = np.arange(n)
        projection = Projection("countsketch", width, self.seed, torch.device("cpu")) if width < p else None
        # Sums begin at nought.
        matrix = np.zeros((n, width), np.float32)
        for rank, rows in gradients.blocks():
            mask = index[rank] >= 0
            if not mask.any():
                continue
            rows = self._scale(rows if mask.all() else rows[mask])
            if projection is not None:
                rows = _project(projection, rows)
            matrix[index[rank[mask]]] = rows
        return matrix

    def _scale(self, rows: np.ndarray) -> np.ndarray:
        if self.on == "raw":
            return rows
        lengths = np.sqrt(np.einsum("np,np->n", rows, rows))
        # A gradient of nothing stays one.
        return rows / np.where(lengths > 0, lengths, np.float32(1))[:, None]

    def _fits(self, n: int, width: int, largest: int) -> None:
        size = 4 * n * width
        if size > largest:
            raise BadArtefact(
                where=f"detector {self.name}, option memory-gib",
                expected=f"a matrix of at most {largest / 2**30:.1f} GiB",
                got=f"{n:,} × {width:,} float32 = {size / 2**30:.1f} GiB",
                do="Lower the detector's width, raise --memory-gib, or use one that needs no matrix: l2, iforest.",
            )


def _project(projection: Projection, rows: np.ndarray) -> np.ndarray:
    import torch

    out = torch.zeros(len(rows), projection.d)
    with warnings.catch_warnings():
        # torch calls its sparse matrices a beta, once a process.
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support", category=UserWarning)
        projection.add("gradient", torch.from_numpy(np.array(rows)), out)
    return out.numpy()


def within(scores: np.ndarray, groups: np.ndarray, least: int, in_base: np.ndarray | None = None) -> np.ndarray:
    """Scores of different fits made comparable: (s − median) / (q₇₅ − q₂₅), within each group.

    Half of a group may be wrong before the figures it is measured by are; how much of it stands out is kept, as ranks
    would not. Where the quartiles coincide the standard deviation takes their place.

    Args:
        scores: n; scores of groups below ``least`` are not read.
        groups: a number for each sample.
        least: groups with fewer samples in the base get 0, the score of every group's median.
        in_base: the samples whose median and quartiles these are, n bool; all, by default.
    """
    standard = np.zeros(len(scores), np.float64)
    base = np.ones(len(scores), bool) if in_base is None else in_base
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        reference = scores[members[base[members]]].astype(np.float64)
        if len(reference) < least:
            continue
        own = scores[members].astype(np.float64)
        low, middle, high = np.quantile(reference, [0.25, 0.5, 0.75])
        spread = high - low if high > low else reference.std()
        standard[members] = (own - middle) / (spread if spread > 0 else 1.0)
    return standard
