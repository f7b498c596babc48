"""A number."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadInput
from tasks.dataset.targets.target import Few, Prediction, Target, flat
from tasks.kernels.tails import FAR, NORMAL, Tail, few_that_weigh, tail_of

if TYPE_CHECKING:
    import torch

    from tasks.kernels.losses import Loss, Outcome

RANGES = 5
"""Strata of a number, at most: ranges between quantiles of the training labels."""

# Of the training labels' quantiles; what is beyond says nothing of centre and scale.
_USUAL = (0.01, 0.99)
# What a person may write for a number. Arrow's own parser decides the value; Python's knows more forms than Arrow's.
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$|^\s*[+-]?(?i:nan|inf|infinity)\s*$"


class Number(Target):
    """A number, learned in units of the training labels' spread and shown as a likelihood of ranges.

    Centre and scale are mean and standard deviation of the training labels between their 1st and 99th percentile.
    """

    kind: Literal["number"] = "number"
    edges: tuple[float, ...]
    """Between the ranges."""
    centre: float
    scale: float
    losses: ClassVar[tuple[str, ...]] = ("squared_error",)
    figure: ClassVar[str] = "R²"
    strata_called: ClassVar[tuple[str, str]] = ("range", "ranges")
    smoothed: ClassVar[bool] = False
    ordered: ClassVar[bool] = True

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    @property
    def description(self) -> str:
        """A number."""
        return "a number"

    def read(self, label: str) -> str | None:
        """As numbers are written here, if it is a finite one."""
        if not re.match(NUMBER, label, re.ASCII) or not abs(float(label)) <= float(np.finfo(np.float32).max):
            return None
        return number_text(pa.array([float(label)]))[0].as_py()

    def strata(self, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """The range that each number is in, its lower end included."""
        numbers = _numbers(labels)
        return np.where(np.isnan(numbers), -1, np.searchsorted(self.edges, numbers, side="right"))

    def values(self, labels: pa.Array | pa.ChunkedArray) -> torch.Tensor:
        """(y − centre) / scale, n × 1, within ±10."""
        import torch

        # What is farther pulls a network no further: one typo must not be all it learns.
        values = np.clip((_numbers(labels) - self.centre) / self.scale, -FAR, FAR)
        return torch.from_numpy(values.astype(np.float32)).unsqueeze(1)

    def export(self, labels: pa.Array | pa.ChunkedArray) -> tuple[torch.Tensor, tuple[str, ...]]:
        """The numbers themselves, n × 1."""
        import torch

        return torch.from_numpy(_numbers(labels).astype(np.float32)).unsqueeze(1), ("number",)

    def said(self, outputs: torch.Tensor, loss: Loss) -> Prediction:
        """The output in the label's own unit; its likelihood is one by definition."""
        return Prediction(self.words(outputs[:, 0].cpu().numpy()), outputs.new_ones(len(outputs)))

    def outcome(self, outputs: torch.Tensor, values: torch.Tensor, loss: Loss) -> Outcome:
        """``p_label`` is exp(−½ (z − y)²), relative to that of the output itself."""
        from tasks.kernels.losses import Outcome

        losses = loss.losses(outputs, values)
        p = (-(outputs - values).square().sum(1) / 2).exp()
        return Outcome(losses, p, outputs[:, 0], outputs.new_ones(len(outputs)))

    def words(self, predicted: np.ndarray) -> pa.Array:
        """In the label's own unit, to six digits: what float32 knows."""
        numbers = predicted.astype(np.float64) * self.scale + self.centre
        scale = 10.0 ** (5 - np.floor(np.log10(np.maximum(np.abs(numbers), 1e-30))))
        return number_text(pa.array(np.round(numbers * scale) / scale))

    def scores(self, outputs: torch.Tensor, spread: float) -> torch.Tensor:
        """log [Φ((b − z)/s) − Φ((a − z)/s)] of each range [a, b): residuals are taken as normal, of spread s."""
        import torch

        edges = (torch.tensor(self.edges, dtype=torch.float64) - self.centre) / self.scale
        ends = torch.cat([edges.new_tensor([-torch.inf]), edges, edges.new_tensor([torch.inf])])
        z = (ends - outputs.double()) / spread
        lower, upper = z[:, :-1], z[:, 1:]
        # By the tail they are in: Φ itself is one, to the last digit, far above.
        far = lower > 0
        first, second = torch.where(far, -upper, lower), torch.where(far, -lower, upper)
        chance = torch.special.ndtr(second) - torch.special.ndtr(first)
        return chance.clamp(min=1e-30).log().float()

    def spread(self, outputs: torch.Tensor, values: torch.Tensor | None) -> float:
        """1.4826 · median |z − y|: the noise of the many, whatever the wrong ones do."""
        assert values is not None  # noqa: S101  numbers have values
        return max(NORMAL * float((outputs - values).abs().median()), 1e-3)

    def probabilities(self, outputs: torch.Tensor, spread: float, loss: Loss) -> torch.Tensor:
        """Of each range."""
        return self.scores(outputs, spread).softmax(1)

    def credit(self, labels: pa.Array | pa.ChunkedArray, said: pa.Array | pa.ChunkedArray, p: np.ndarray) -> np.ndarray:
        """1 − (y − ŷ)² / var(y), var over these labels (or the scale squared, if they are all one): its mean is R²."""
        y = _numbers(labels)
        return 1 - (y - _numbers(said)) ** 2 / (float(y.var()) or self.scale**2)

    def few(self, labels: pa.Array | pa.ChunkedArray, trained: pa.Array | pa.ChunkedArray) -> Few:
        """Those that make up most of Σ (y − ȳ)², where few do, and others far from the training labels' many."""
        numbers = _numbers(labels)
        weigh = few_that_weigh(numbers)
        if not weigh.any():
            return Few(weigh, weigh)
        return Few(weigh, tail_of(numbers, _numbers(trained), self.scale).far & ~weigh)

    def tail(self, labels: pa.Array | pa.ChunkedArray, base: np.ndarray) -> Tail:
        """In the label's own unit."""
        numbers = _numbers(labels)
        return tail_of(numbers, numbers[base], self.scale)

    def suggestions(self, strata: np.ndarray, outputs: torch.Tensor, loss: Loss) -> pa.Array:
        """The output itself, where it lies in the range that is suggested."""
        label = self.said(outputs, loss).label
        return pc.if_else(pa.array(strata == self.strata(label)), label, pa.scalar(None, pa.string()))


def number_text(numbers: pa.Array) -> pa.Array:
    """float64 as the shortest text that reads back the same, so that equal ones are equal; minus zero is zero."""
    return pc.add(numbers, 0.0).cast(pa.string())


def number_from(labels: np.ndarray, where: str) -> Number:
    """The target of numbers, by the training labels.

    Args:
        labels: n training labels.
        where: the source, for the message.

    Raises:
        BadInput: they are all the same.
    """
    if len(labels) < 4 or labels.std() == 0:
        raise BadInput(
            where=where,
            expected="four training labels or more that are not all the same number",
            got=f"{len(labels)}" + (f", all {labels[0]:g}" if len(labels) else ""),
            do="Check the label column and the split column.",
        )
    count = int(np.clip(len(labels) // 20, 2, RANGES))
    edges = np.unique(np.quantile(labels, np.arange(1, count) / count))
    edges = edges[edges > labels.min()]  # the lowest range has someone in it
    if not len(edges):
        edges = np.unique(labels)[1:2]
    ends = ["−∞", *(f"{edge:.6g}" for edge in edges), "∞"]
    names = [f"{low} … {high}" for low, high in pairwise(ends)]
    names = names if len(set(names)) == len(names) else [f"range {i + 1}" for i in range(len(names))]
    low, high = np.quantile(labels, _USUAL)
    usual = labels[(labels >= low) & (labels <= high)]
    usual = usual if usual.std() else labels
    return Number(
        classes=tuple(names), edges=tuple(edges.tolist()), centre=float(usual.mean()), scale=float(usual.std())
    )


def _numbers(labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """float64, NaN where null."""
    return flat(labels.cast(pa.float64()), np.float64)
