"""Which training samples shaped the answers to a set of queries: the validation split, or else the test split."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from tasks.core.errors import BadArtefact, BadConfig
from tasks.core.plugins import Component
from tasks.scoring.evidence import Evidence

# Under the Fisher, values of a gradient: it is a matrix of so many rows and columns, a quarter of a GiB in float32.
LONGEST = 8192


class Tracing(Component):
    """For each query, the training samples that shaped the answer most.

    Queries are the validation split (the reader's reference_path), or else the test split.

    Query and sample are compared by the network of the sample's fold, which saw neither; with folds 1, by the one that
    was trained on all samples, as TracIn and DataInf have it; at epoch 0, by the one that training begins with.
    """

    top: int = Field(default=20, ge=1, description="Samples that are named for each query.")
    curvature: Literal["fisher", "none"] = Field(
        default="none",
        description="none: inner products. fisher: what many samples have in common counts less, which needs more of "
        "them than gradients have values.",
    )
    cosine: bool = Field(default=True, description="Leave the gradients' lengths out: hard samples answer no query.")
    neighbours: int = Field(
        default=0,
        ge=0,
        description="Rank along the graph of each sample's so many nearest gradients, from the query's nearest on "
        "(manifold ranking): what teaches the same is found as a whole. 0 compares the query with each sample alone.",
    )
    restart: float = Field(
        default=0.1,
        ge=0.01,
        le=1,
        description="1 − α: how much of a rank is the pair's own and not the neighbours'; 1 spreads nothing.",
    )
    damping: float = Field(default=0.1, gt=0, description="Of the Fisher, as a share of its mean eigenvalue.")
    memory_gib: float = Field(default=4.0, gt=0, description="Refuse gradients that take more memory.")

    def traces(self, evidence: Evidence) -> tuple[pa.Array, np.ndarray]:
        """(sorted ids of the queries; q × n, how much each training sample, in ``evidence``'s order, shaped each).

        Raises:
            BadConfig: there are no queries.
            BadArtefact: the gradients are too long.
        """
        import torch

        from tasks.kernels.tracing import trace_scores

        split = evidence.reference
        if split is None or not len(split):
            raise BadConfig(
                where="the run to be traced",
                expected="queries: a validation or a test split",
                got="none",
                do="Name queries with --reader.reference-path (or a split column, or --reader.validation-share), run "
                "gradsieve clean again, and trace that run.",
            )
        if self.curvature == "fisher" and evidence.gradients.dimensions > LONGEST:
            raise BadArtefact(
                where="the gradients",
                expected=f"at most {LONGEST:,} values each, to trace queries by",
                got=f"{evidence.gradients.dimensions:,}",
                do="Take --curvature none, or run clean with a lower --gradient.projection-dim or fewer layers.",
            )
        damping = self.damping if self.curvature == "fisher" else None
        folds, of_query = evidence.folds, split.scalar("fold")
        # Every query was asked of every fold's network.
        names = split.ids().filter(pa.array(of_query == folds[0]))
        self._check_memory(len(evidence), len(split), len(names), evidence.gradients.dimensions)
        largest = int(self.memory_gib * 2**30)
        samples, queries = (torch.from_numpy(each.dense(largest)) for each in (evidence.gradients, split))
        scores = np.empty((len(names), len(evidence)), np.float32)
        for fold in np.unique(folds):
            members, rows = np.flatnonzero(folds == fold), np.flatnonzero(of_query == fold)
            sides = samples[torch.from_numpy(members)], queries[torch.from_numpy(rows)]
            how = {"cosine": self.cosine, "neighbours": self.neighbours, "restart": self.restart}
            scores[:, members] = trace_scores(*sides, damping=damping, **how).numpy()
        return names, scores

    def _check_memory(self, samples: int, query_rows: int, queries: int, dimensions: int) -> None:
        # Ranked along the graph there are unit gradients, and what it starts with, spreads and becomes.
        sides, ranks = (2 * samples + query_rows, 5) if self.neighbours else (samples + query_rows, 1)
        size = 4 * (sides * dimensions + ranks * queries * samples)
        if size > self.memory_gib * 2**30:
            raise BadArtefact(
                where="tracing queries",
                expected=f"at most {self.memory_gib:g} GiB for gradients and traces",
                got=f"{size / 2**30:.1f} GiB of {samples:,} samples, {queries:,} queries, {dimensions:,} values each",
                do="Raise --memory-gib, or run clean with a lower --gradient.projection-dim or fewer queries.",
            )
