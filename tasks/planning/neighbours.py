"""How samples are compared with one another: which space, which distance, how many neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from tasks.core.plugins import Component

if TYPE_CHECKING:
    import torch

    from tasks.dataset.payload import Payload
    from tasks.dataset.samples import Inputs
    from tasks.dataset.tokenizer import Tokens

# From so many dimensions on directions tell more than places.
_DIRECTIONS_FROM = 16
# Rows that are widened to float32 at a time.
_BLOCK = 4096
# Rows that mean and spread are taken of, at most, and values of them all (1 GB).
_ROWS, _VALUES = 20_000, 1 << 28
# Samples whose neighbours are looked for at a time.
_QUERIES = 1 << 14
# Buckets that the tokens of a text are counted in, before the projection to ``_WIDTH``.
_BUCKETS = 2048
# Samples that are asked at most, drawn by id: votes of a hundred neighbours among so many are as sure as among more,
# and every query costs one product with each.
_REFERENCES = 100_000
# Values that wider inputs are projected to by random signs: inner products are kept within 1/√512 of the lengths.
_WIDTH = 512
# Of that draw and that projection; what they give should not differ from run to run.
_SEED = 0
LISTED = 20
"""Neighbours that are listed by name: more than any guard looks at, and few beside a sample's shares of votes."""


class Neighbours(Component):
    """Whose labels are asked when a sample's own is doubted: those of the samples with the most similar inputs."""

    count: int | None = Field(
        default=None, ge=1, description="How many; default 100, or √n in a small dataset, at least 5."
    )

    def among(self, samples: int) -> int:
        """How many neighbours are asked among so many samples; fewer than there are."""
        wanted = self.count or min(100, max(5, round(samples**0.5)))
        return max(1, min(wanted, samples - 1))

    def space(
        self, x: torch.Tensor, rows: np.ndarray, *, image: bool, tokens: Tokens | None = None
    ) -> Callable[[torch.Tensor], torch.Tensor]:
        """The map from inputs to the space of comparison, with statistics of the samples ``rows`` of ``x``.

        Texts are compared by the tokens they have, the rarer a token the more.
        """
        import torch

        from tasks.kernels.neighbours import comparable
        from tasks.kernels.tokens import bag, rarity

        def features(part: torch.Tensor) -> torch.Tensor:
            return bag(part, pad=tokens.pad, width=_BUCKETS) if tokens else part.flatten(1).float()

        wide = _BUCKETS if tokens else x[0].numel()
        unit = wide >= _DIRECTIONS_FROM
        most = max(1, min(_ROWS, _VALUES // wide))
        sample = features(x[torch.from_numpy(rows[:: -(-len(rows) // most)])])
        weights = rarity(sample) if tokens else 1.0
        scale = not image and not tokens
        mapped = comparable(sample * weights, scale=scale, unit=unit, width=_WIDTH, seed=_SEED)
        return lambda block: torch.cat([mapped(features(part) * weights) for part in block.split(_BLOCK)])


@dataclass(frozen=True)
class Electorate:
    """The training samples whose labels are asked, in the space of comparison."""

    asked: np.ndarray
    """Their places among the sorted ids of the training samples."""
    count: int
    """How many of them a sample asks."""
    classes: int
    space: Callable[[torch.Tensor], torch.Tensor]
    references: torch.Tensor
    labels: torch.Tensor

    @classmethod
    def of(
        cls,
        neighbours: Neighbours,
        inputs: Inputs,
        classes: int,
        device: torch.device,
        payload: Payload,
        in_base: np.ndarray | None = None,
    ) -> Electorate:
        """Those whose labels are asked of the training samples ``inputs``: of all, or of those in the base, n bool."""
        import torch

        from tasks.dataset.sample_ids import uniforms

        order = np.argsort(inputs.ids, kind="stable")
        # Which samples are asked where there are too many: by id, so that a row more moves few others.
        eligible = np.arange(len(order)) if in_base is None else np.flatnonzero(in_base[order])
        draws, _ = uniforms(inputs.ids[order[eligible]].tolist(), _SEED)
        asked = np.sort(eligible[np.argsort(draws)[:_REFERENCES]])
        space = neighbours.space(inputs.x, order[eligible], image=payload.is_image, tokens=payload.tokens)
        indices = torch.from_numpy(order[asked])
        references, labels = space(inputs.x[indices]).to(device), inputs.labels[indices].to(device)
        return cls(asked, neighbours.among(len(asked)), classes, space, references, labels)

    def votes(
        self, x: torch.Tensor, rows: np.ndarray, themselves: np.ndarray, listed: int
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """What the nearest of them say of some samples, in blocks.

        Args:
            x: inputs.
            rows: which of them, in the order wanted.
            themselves: n, which of the asked each sample is, −1 for none: nobody is asked about itself.
            listed: how many of the nearest are named.

        Yields:
            (which of ``rows``, shares of the classes among their neighbours' labels b × k, places of the nearest).
        """
        import torch

        from tasks.kernels.neighbours import nearest, votes

        for first in range(0, len(rows), _QUERIES):
            part = slice(first, first + _QUERIES)
            queries = self.space(x[torch.from_numpy(rows[part])]).to(self.references.device)
            own = torch.from_numpy(themselves[part]).to(queries.device)
            for block, found, _ in nearest(queries, self.references, own, self.count):
                at = slice(first + block.start, first + min(block.stop, len(queries)))
                shares = votes(found, self.labels, self.classes)
                yield at, shares.cpu().numpy(), self.asked[found[:, :listed].cpu().numpy()]
