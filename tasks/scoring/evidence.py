"""What a detector may look at: everything a run knows of its training samples, but no test sample and no true label.

Every array is in the order of sorted sample_id, "rank" in tasks/gradients/shards.py. Nothing is read before it is
asked for.

A run with canaries has its evidence twice: as the labels were given, and with the canaries under their planted labels
in the place of their own. A detector does not know which of the two it is shown.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.core.errors import BadConfig
from tasks.dataset.samples import given_texts, in_base_of
from tasks.dataset.targets import target_of
from tasks.gradients.shards import GradientShards
from tasks.kernels.pieces import pieces
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.row_groups import wide_rows
from tasks.pipeline.scratch_arrays import allocate
from tasks.planning.canaries import CanaryLabels
from tasks.scoring.crossfit import CrossFit

if TYPE_CHECKING:
    import torch

    from tasks.kernels.losses import Loss

T = TypeVar("T")

# What a matrix of a row a sample may take of the run's memory: there are several. And values that are made at a time.
_SHARE, _AT_A_TIME = 1 / 8, 1 << 25


class Scoring(Protocol):
    """A detector, as far as evidence knows of it."""

    def score(self, evidence: Evidence) -> np.ndarray: ...
    def model_dump_json(self) -> str: ...


class Evidence:
    """Of n training samples.

    Args:
        run: whose lake.
        crossfit: the samples, their networks and gradients.
        planted: show the canaries under their planted labels.
    """

    def __init__(self, run: Run, crossfit: CrossFit, *, planted: bool = False) -> None:
        self.run, self.crossfit, self.is_planted = run, crossfit, planted
        self.samples, self.target = crossfit.samples, target_of(crossfit.samples)
        self.classes: list[str] = crossfit.samples.facts["classes"]
        self._scores: dict[str, np.ndarray] = {}
        self._cache: dict[str, Any] = {}
        self._twin: Evidence | None = None

    def __len__(self) -> int:
        return len(self.gradients)

    @property
    def twin(self) -> Evidence:
        """The same samples seen the other way: under given labels, or with planted ones."""
        if self._twin is None:
            self._twin = Evidence(self.run, self.crossfit, planted=not self.is_planted)
            self._twin._twin = self
        return self._twin

    @property
    def with_given_labels(self) -> Evidence:
        """As the labels were given."""
        return self.twin if self.is_planted else self

    @property
    def with_planted_labels(self) -> Evidence:
        """With the canaries under their planted labels."""
        return self if self.is_planted else self.twin

    @cached_property
    def gradients(self) -> GradientShards:
        """Held-out gradients."""
        own = [shard for shard in self.crossfit.gradients if not is_reference(shard)]
        return GradientShards(self.run, own, instead="canaries" if self.is_planted else None)

    @cached_property
    def reference(self) -> GradientShards | None:
        """Gradients of the validation split, each sample by every fold's network; None where there is none."""
        shards = [shard for shard in self.crossfit.gradients if is_reference(shard)]
        return GradientShards(self.run, shards, "reference") if shards else None

    @cached_property
    def ids(self) -> pa.Array:
        """Sorted sample ids; the same whichever way one looks."""
        return self.with_given_labels.ids if self.is_planted else self.gradients.ids()

    @cached_property
    def texts(self) -> pa.Array:
        """The labels as they were given; the same whichever way one looks."""
        return self.with_given_labels.texts if self.is_planted else given_texts(self.run, self.samples, self.ids)

    @cached_property
    def labels(self) -> np.ndarray:
        """The stratum of the label that each sample bears, n int64: its class (tasks/dataset/targets)."""
        labels = self.target.strata(self.texts)
        if self.is_planted:
            labels[self.canary_ranks] = self.canaries.labels
        return labels

    @cached_property
    def folds(self) -> np.ndarray:
        """The fold each sample is held out of, n int16."""
        return self.gradients.scalar("fold")

    @cached_property
    def in_base(self) -> np.ndarray:
        """Which samples are not new, n bool. Detectors fit on these alone: new samples are measured by the earlier
        ones, and change no other score. Without a base all samples count as in it."""
        return in_base_of(self.run, self.crossfit.plan.folds, self.ids)

    @cached_property
    def outputs(self) -> torch.Tensor:
        """Of the network that never saw the sample, n × outputs float32."""
        import torch

        matrix = self._allocate(self.gradients.widths["logits"])
        return torch.from_numpy(self.gradients.matrix("logits", matrix))

    @cached_property
    def spread(self) -> float:
        """Of a number's residuals, over the samples in the base under their given labels."""
        if self.is_planted:
            return self.with_given_labels.spread
        rows = np.flatnonzero(self.in_base)
        values = self.target.values(self.texts.take(pa.array(rows)))
        return self.target.spread(self.outputs if self.in_base.all() else self.outputs[rows], values)

    @cached_property
    def logits(self) -> np.ndarray:
        """Their scores of each class, n × k float32: the outputs themselves, where there is one for each class."""
        return self.target.scores(self.outputs, self.spread).numpy()

    @cached_property
    def objective(self) -> Loss:
        """What the networks were trained with."""
        from tasks.kernels.losses import Loss

        kind, smoothing = self.gradients.metadata.loss
        return Loss(kind, smoothing)  # type: ignore[arg-type]

    @cached_property
    def probabilities(self) -> np.ndarray:
        """What they say of each class, n × k float32; rows sum to one (of a cross entropy)."""
        outputs, k = self.outputs, len(self.classes)
        if len(outputs) * k <= _AT_A_TIME:
            return self.target.probabilities(outputs, self.spread, self.objective).numpy()
        matrix = self._allocate(k)
        for some in pieces(len(outputs), k):
            matrix[some] = self.target.probabilities(outputs[some], self.spread, self.objective).numpy()
        return matrix

    @cached_property
    def votes(self) -> np.ndarray:
        """Shares of the neighbours' given labels, n × k float32; the same whichever way one looks."""
        return self.with_given_labels.votes if self.is_planted else self._matrix_of("votes")

    @cached_property
    def neighbours(self) -> np.ndarray:
        """Ranks of the nearest, n × j int32, nearest first; the same whichever way one looks."""
        return self.with_given_labels.neighbours if self.is_planted else self._matrix_of("neighbours")

    def _matrix_of(self, name: str) -> np.ndarray:
        """A column of fixed-size lists, read in pieces: of the file nothing is held beside it."""
        with pq.ParquetFile(self.run.path(self.crossfit.votes)) as file:
            kind, first = file.schema_arrow.field(name).type, 0
            matrix = self._allocate(kind.list_size, kind.value_type.to_pandas_dtype())
            for batch in file.iter_batches(wide_rows(kind.list_size), columns=[name]):
                values = batch[name].flatten().to_numpy(zero_copy_only=False)
                matrix[first : first + batch.num_rows] = values.reshape(batch.num_rows, kind.list_size)
                first += batch.num_rows
        return matrix

    def _allocate(self, width: int, dtype: type = np.float32) -> np.ndarray:
        """A row for each sample; of many classes in a file, for there are several of them."""
        return allocate(self.run, (len(self), width), dtype, _SHARE)

    @property
    def opinion_names(self) -> list[str]:
        """Names of the opinions from outside, in the order they were given."""
        opinions = self.crossfit.opinions
        return [] if opinions is None else [told["name"] for told in opinions.facts["opinions"]]

    @cached_property
    def opinions(self) -> list[np.ndarray]:
        """What each opinion from outside says of each class, n × k float32; rows of NaN where it says nothing.

        No opinion sees a label: they are the same whichever way one looks.
        """
        if self.is_planted:
            return self.with_given_labels.opinions
        if self.crossfit.opinions is None:
            return []
        table, matrices = pq.read_table(self.run.path(self.crossfit.opinions)), []
        for name in self.opinion_names:
            rows = table.filter(pc.equal(table["opinion"], name))
            matrices.append(np.full((len(self), len(self.classes)), np.nan, np.float32))
            index = pc.index_in(rows["sample_id"], value_set=self.ids).to_numpy()
            matrices[-1][index] = pc.list_flatten(rows["probabilities"]).to_numpy().reshape(-1, len(self.classes))
        return matrices

    def need_opinions(self, where: str) -> None:
        """Refuse to go on without opinions.

        Raises:
            BadConfig: this run was given none.
        """
        if not self.opinion_names:
            raise BadConfig(
                where=where,
                expected="opinions from outside",
                got="none",
                do="Give a file of class probabilities with --opinions, or choose another detector.",
            )

    def dynamics(self, name: str) -> np.ndarray:
        """``aum``, ``mean_loss``, ``el2n`` or ``sei``: mean over networks trained on the sample under its label here.

        Returns:
            n float64; NaN for a sample that no network was trained on so (one that is new or relabelled since the base,
            canaries with fewer than three folds), or whose network an older version trained that did not note this.
        """
        sums, counts = np.zeros(len(self)), np.zeros(len(self))
        for checkpoint in self.crossfit.checkpoints:
            for path in self.run.paths(checkpoint, ".parquet", "dynamics"):
                if name not in pq.read_schema(path).names:
                    continue
                table = pq.read_table(path, columns=["sample_id", "label", name])
                rank = pc.index_in(table["sample_id"], value_set=self.ids)
                there = pc.is_valid(rank).to_numpy()
                index = rank.to_numpy(zero_copy_only=False)[there].astype(np.int64)
                classes = pc.index_in(table["label"], value_set=pa.array(self.classes, pa.string())).to_numpy()
                same_label = classes[there] == self.labels[index]
                np.add.at(sums, index[same_label], table[name].to_numpy()[there][same_label])
                np.add.at(counts, index[same_label], 1)
        return np.divide(sums, counts, out=np.full(len(self), np.nan), where=counts > 0)

    @cached_property
    def canaries(self) -> CanaryLabels:
        """The run's canaries; the same whichever way one looks."""
        return self.crossfit.plan.canary_labels(self.run, self.target)

    @cached_property
    def canary_ranks(self) -> np.ndarray:
        """Ranks of the canaries, in their own order."""
        ids = pa.array(self.canaries.ids, pa.string())
        return pc.index_in(ids, value_set=self.ids).to_numpy(zero_copy_only=False).astype(np.int64)

    def need_canaries(self, where: str) -> None:
        """Refuse to go on without canaries.

        Raises:
            BadConfig: this run has none.
        """
        if not len(self.canaries):
            raise BadConfig(
                where=where,
                expected="canaries to learn from",
                got=f"none among {len(self):,} samples",
                do="Set canaries.share above 0, or choose a detector and a budget that need none.",
            )

    def once(self, key: str, make: Callable[[], T]) -> T:
        """What ``make`` gives, made once for this evidence and its twin."""
        cache = self.with_given_labels._cache
        if key not in cache:
            cache[key] = make()
        return cache[key]

    def score(self, detector: Scoring) -> np.ndarray:
        """The detector's suspicions, kept for whoever asks again."""
        key = f"{type(detector).__qualname__} {detector.model_dump_json()}"
        if key not in self._scores:
            self._scores[key] = detector.score(self)
        return self._scores[key]


def is_reference(shard: Artefact) -> bool:
    """Whether a shard's samples are those of the validation split."""
    return shard.files[0].name.startswith("reference/")
