"""How samples are compared with one another: which space, which distance, how many neighbours."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from tasks.core.plugins import Component

if TYPE_CHECKING:
    import torch

    from tasks.dataset.payload import Payload
    from tasks.dataset.samples import Inputs
    from tasks.dataset.tokenizer import Tokens
    from tasks.kernels.bins import Bins

# From so many dimensions on directions tell more than places.
_DIRECTIONS_FROM = 16
# Rows that are widened to float32 at a time.
_BLOCK = 4096
# Rows that mean and spread are taken of, at most, and values of them all (1 GB).
_ROWS, _VALUES = 20_000, 1 << 28
# Samples whose neighbours are looked for at a time, and values of their votes.
_QUERIES, _VOTES = 1 << 14, 1 << 24
# Buckets that the tokens of a text are counted in, before the projection to ``_WIDTH``.
_BUCKETS = 2048
# Samples that are asked at most, drawn by id: votes of a hundred neighbours among so many are as sure as among more,
# and every query costs one product with each. Of more than 30,000 a few neighbours are missed (tasks/kernels/bins.py).
_REFERENCES = 100_000
# Values that wider inputs are projected to by random signs: inner products are kept within 1/√512 of the lengths.
_WIDTH = 512
# An encoder's vectors are made to be compared: they are only projected beyond this. (10,000 CIFAR-10N pictures, 1,280
# values, 30 neighbours: average precision .455 as they are, .431 projected.)
_ENCODER_WIDTH = 2048
# Of that draw and that projection; what they give should not differ from run to run.
_SEED = 0
MOST_NAMED = 20
"""Neighbours that are listed by name: more than any guard looks at, and few beside a sample's shares of votes."""


class Neighbours(Component):
    """Whose labels are asked when a sample's own is doubted: those of the samples with the most similar inputs."""

    space: Literal["auto", "inputs", "encoder"] = Field(
        default="auto",
        description="What samples are compared by: the inputs, or the vectors of the model's frozen encoder; auto: the "
        "encoder's where there is one.",
    )
    count: int | None = Field(
        default=None, ge=1, description="How many; default 100, or √n in a small dataset, at least 5."
    )

    def among(self, samples: int) -> int:
        """How many neighbours vote among so many samples; fewer than there are."""
        count = self.count or min(100, max(5, round(samples**0.5)))
        return max(1, min(count, samples - 1))

    def comparison(
        self,
        x: torch.Tensor,
        rows: np.ndarray,
        *,
        image: bool,
        tokens: Tokens | None = None,
        encoded: bool = False,
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
        width = _ENCODER_WIDTH if encoded else _WIDTH
        project = comparable(sample * weights, scale=scale, unit=unit, width=width, seed=_SEED)
        return lambda block: torch.cat([project(features(part) * weights) for part in block.split(_BLOCK)])


@dataclass(frozen=True)
class Electorate:
    """The training samples that vote, in the space of comparison."""

    ranks: np.ndarray
    """Their ranks among the sorted ids of the training samples."""
    count: int
    """How many of them vote on a sample."""
    classes: int
    space: Callable[[torch.Tensor], torch.Tensor]
    references: torch.Tensor
    labels: torch.Tensor
    bins: Bins | None
    """Where the references are looked for; None: they are compared one by one."""

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
        """The voters among the training samples ``inputs``: of all, or of those in the base, n bool."""
        import torch

        from tasks.dataset.sample_ids import uniforms
        from tasks.kernels.bins import bins_of

        order = np.argsort(inputs.ids, kind="stable")
        # Which samples vote where there are too many: by id, so that one row more changes few of them.
        eligible = np.arange(len(order)) if in_base is None else np.flatnonzero(in_base[order])
        draws, _ = uniforms(inputs.ids[order[eligible]].tolist(), _SEED)
        ranks = np.sort(eligible[np.argsort(draws)[:_REFERENCES]])
        space = neighbours.comparison(
            inputs.x,
            order[eligible],
            image=payload.is_image,
            tokens=payload.tokens,
            encoded=payload.kind == "features",
        )
        indices = torch.from_numpy(order[ranks])
        references, labels = space(inputs.x[indices]).to(device), inputs.labels[indices].to(device)
        count = neighbours.among(len(ranks))
        return cls(ranks, count, classes, space, references, labels, bins_of(references, count))

    def asked_by(self, x: torch.Tensor, rows: np.ndarray, themselves: np.ndarray) -> Electorate:
        """The same for the samples that will ask, as ``votes`` has them: the recall is that of a sample of these.

        Where an index would miss too many of their neighbours they are compared one by one.
        """
        import torch

        from tasks.kernels.bins import sample_of

        if self.bins is None or not len(rows):
            return self
        some = sample_of(len(rows)).numpy()
        queries = self.space(x[torch.from_numpy(rows[some])]).to(self.references.device)
        bins = self.bins.for_queries(queries, self.references, torch.from_numpy(themselves[some]))
        return replace(self, bins=bins)

    @property
    def recall(self) -> float | None:
        """Share of the nearest that are found, by a sample; None where all are."""
        return self.bins.recall if self.bins else None

    def votes(
        self, x: torch.Tensor, rows: np.ndarray, themselves: np.ndarray, width: int
    ) -> Iterator[tuple[slice, np.ndarray, np.ndarray]]:
        """The votes of the nearest on some samples, in blocks.

        Args:
            x: inputs.
            rows: which of them, in the order wanted.
            themselves: n, the rank of each sample among the references, −1 for none: no sample votes on itself.
            width: how many of the nearest are named.

        Yields:
            (which of ``rows``, shares of the classes among their neighbours' labels b × k, ranks of the nearest).
        """
        import torch

        from tasks.kernels.neighbours import nearest, votes

        references, count = self.references, self.count
        size = max(1, min(_QUERIES, _VOTES // self.classes))
        for first in range(0, len(rows), size):
            part = slice(first, min(first + size, len(rows)))
            queries = self.space(x[torch.from_numpy(rows[part])]).to(references.device)
            own = torch.from_numpy(themselves[part]).to(queries.device)
            blocks = self.bins.nearest(queries, own) if self.bins else nearest(queries, references, own, count)
            # What a block leaves must not be kept between the matrices of the next: the heap would grow by one each
            # time, by 20 GB for a million samples.
            shares = np.empty((len(queries), self.classes), np.float32)
            ranks = np.empty((len(queries), width), self.ranks.dtype)
            for block, near, _ in blocks:
                shares[block] = votes(near, self.labels, self.classes).cpu().numpy()
                ranks[block] = self.ranks[near[:, :width].cpu().numpy()]
            yield part, shares, ranks
