"""How samples are compared with one another: which space, which distance, how many neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from tasks.parts import Part

if TYPE_CHECKING:
    import torch

# From so many dimensions on directions tell more than places.
_DIRECTIONS_FROM = 16
# Rows that are widened to float32 at a time.
_BLOCK = 4096
# Rows that mean and spread are taken of, at most, and values of them all (1 GB).
_ROWS, _VALUES = 20_000, 1 << 28


class Neighbourhood(Part):
    """Whose labels are asked when a sample's own is doubted: those of the samples with the most similar inputs."""

    neighbours: int | None = Field(
        default=None, ge=1, description="How many; default 100, or √n in a small dataset, at least 5."
    )
    listed: int = Field(default=20, ge=1, description="How many of them are listed by name, for the guards.")
    metric: Literal["auto", "cosine", "euclidean"] = Field(
        default="auto", description="auto: cosine from 16 dimensions on, after centring (and scaling, for columns)."
    )
    references: int = Field(
        default=100_000, ge=100, description="Neighbours are looked for among at most so many samples, drawn by id."
    )
    width: int = Field(default=512, ge=8, description="Wider inputs are projected to it by random signs.")
    seed: int = Field(default=0, description="Seed of the draw and the projection.")

    def count(self, samples: int) -> int:
        """How many neighbours are asked among so many samples; fewer than there are."""
        wanted = self.neighbours or min(100, max(5, round(samples**0.5)))
        return max(1, min(wanted, samples - 1))

    def space(self, x: torch.Tensor, rows: np.ndarray, *, image: bool) -> Callable[[torch.Tensor], torch.Tensor]:
        """The map from inputs to the space of comparison, with statistics of the samples ``rows`` of ``x``."""
        import torch

        from tasks.kernels.neighbours import comparable

        wide = x[0].numel()
        unit = self.metric == "cosine" or (self.metric == "auto" and wide >= _DIRECTIONS_FROM)
        most = max(1, min(_ROWS, _VALUES // wide))
        sample = x[torch.from_numpy(rows[:: -(-len(rows) // most)])].flatten(1).float()
        mapped = comparable(sample, scale=not image, unit=unit, width=self.width, seed=self.seed)
        return lambda block: torch.cat([mapped(part.flatten(1).float()) for part in block.split(_BLOCK)])
