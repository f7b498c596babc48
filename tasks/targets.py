"""What a label says, and how a network learns it: one class, a number, a set of labels, or a response to a prompt.

A label is text wherever a person meets it: in samples, flags, versions and SQL. For the numbers behind it there are

    value     what a loss compares outputs with: a class index; a standardised number; zeros and ones, one a label
    stratum   the class that folds, votes, canaries and caps go by: the class itself; a range of numbers between
              quantiles; the set of labels, rare sets together; one for all responses

so that whatever is said of classes holds of the others as well, and only this file knows which there are.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

from tasks.errors import BadInput

if TYPE_CHECKING:
    import torch

    from tasks.artefacts import Artefact
    from tasks.kernels.losses import Loss, Outcome

TargetKind = Literal["class", "number", "labels", "response"]

RANGES = 5
"""Strata of a number, at most: ranges between quantiles of the training labels."""
SETS = 50
"""Strata of a set of labels, at most: the commonest sets, and one for all others."""
OTHERS = "(other sets)"
NOTHING = "(none)"
"""The label of a sample that has none of the labels."""

# Outliers do not widen it: 1.4826 · median |r| is the standard deviation where r is normal.
_NORMAL = 1.4826
# A number as far as that from the centre, in spreads, pulls a network no further: one typo must not be all it learns.
_FAR = 10.0
# Of the training labels' quantiles; what is beyond says nothing of centre and scale.
_USUAL = (0.01, 0.99)
# What a person may write for a number. Arrow's own parser decides the value; Python's knows more forms than Arrow's.
NUMBER = r"^\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*$|^\s*[+-]?(?i:nan|inf|infinity)\s*$"


class Said(NamedTuple):
    """What a network says of n samples."""

    label: pa.Array
    """The label it would give, as text."""
    p: torch.Tensor
    """How likely it thinks that is, n."""


class Target(BaseModel):
    """One class of several: the label is its name."""

    model_config = ConfigDict(frozen=True)
    kind: Any = "class"
    classes: tuple[str, ...]
    """Names of the strata."""

    losses: ClassVar[tuple[str, ...]] = ("cross_entropy", "binary_cross_entropy", "squared_error")
    """What may be minimised; the first unless one asks for another."""
    figure: ClassVar[str] = "accuracy"
    """What a verification measures; the mean of ``credit``."""
    judged: ClassVar[bool] = True
    """Whether a network says how likely each stratum is."""
    smoothed: ClassVar[bool] = True
    """Whether a share of what a loss compares with may be spread over the outputs."""
    ordered: ClassVar[bool] = False
    """Whether strata border on one another: which of them are taken for which then tells of borders, not of noise."""

    @property
    def outputs(self) -> int:
        """Outputs of the network."""
        return len(self.classes)

    @property
    def told(self) -> str:
        """What a label may be, in words."""
        return f"a class: {', '.join(self.classes[:10])}"

    def read(self, label: str) -> str | None:
        """A label that a person wrote as it is known here; None if it is none."""
        return label if label in self.classes else None

    def strata(self, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Stratum of each label, int64; −1 where it is null or unheard of."""
        place = pc.fill_null(pc.index_in(labels, value_set=pa.array(self.classes, pa.string())), -1)
        return _flat(place)

    def named(self, labels: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Name of the stratum of each label."""
        return pa.array(self.classes, pa.string()).take(pa.array(self.strata(labels)))

    def values(self, labels: pa.Array | pa.ChunkedArray) -> torch.Tensor | None:
        """What a loss compares with, n × outputs; None where that is the stratum."""
        return None

    def exported(self, labels: pa.Array | pa.ChunkedArray) -> tuple[torch.Tensor, tuple[str, ...]]:
        """(labels for whoever trains on a version, what their numbers are about): n positions among the classes."""
        import torch

        return torch.from_numpy(self.strata(labels)), self.classes

    def outcome(self, outputs: torch.Tensor, values: torch.Tensor, loss: Loss) -> Outcome:
        """What a network says of n labelled samples; ``predicted`` is the class of the largest output."""
        return loss.outcome(outputs, values)

    def words(self, predicted: np.ndarray) -> pa.Array:
        """Predictions, as ``outcome`` has them, as the labels they stand for."""
        return pa.array(self.classes, pa.string()).take(pa.array(predicted))

    def said(self, outputs: torch.Tensor, loss: Loss) -> Said:
        """The label of the largest output, and its probability."""
        place = outputs.argmax(1)
        p = loss.probabilities(outputs).gather(1, place.unsqueeze(1)).squeeze(1)
        return Said(self.words(place.cpu().numpy()), p)

    def scores(self, outputs: torch.Tensor, spread: float) -> torch.Tensor:
        """A score of each stratum, n × k, whose softmax (or what the loss makes of scores) is its probability."""
        return outputs

    def spread(self, outputs: torch.Tensor, values: torch.Tensor | None) -> float:
        """Of the residuals of a number; of no use to others."""
        return 1.0

    def probabilities(self, outputs: torch.Tensor, spread: float, loss: Loss) -> torch.Tensor:
        """What outputs say of each stratum, n × k."""
        return loss.probabilities(outputs)

    def credit(self, labels: pa.Array | pa.ChunkedArray, said: pa.Array | pa.ChunkedArray, p: np.ndarray) -> np.ndarray:
        """How far each answer is right, n: whether it is the label.

        Args:
            labels: as given.
            said: what a network says.
            p: how likely it thinks that.
        """
        return _bools(pc.equal(labels, said))

    def suggestions(self, strata: np.ndarray, outputs: torch.Tensor, loss: Loss) -> pa.Array:
        """The label to suggest for each of ``strata``, null where that is negative."""
        return pa.array(self.classes, pa.string()).take(pa.array(strata, mask=strata < 0))


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
    smoothed: ClassVar[bool] = False
    ordered: ClassVar[bool] = True

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    @property
    def told(self) -> str:
        """A number."""
        return "a number"

    def read(self, label: str) -> str | None:
        """As numbers are written here, if it is a finite one."""
        if not re.match(NUMBER, label, re.ASCII) or not abs(float(label)) <= np.finfo(np.float32).max:
            return None
        return number_text(pa.array([float(label)]))[0].as_py()

    def strata(self, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """The range that each number is in, its lower end included."""
        numbers = _numbers(labels)
        return np.where(np.isnan(numbers), -1, np.searchsorted(self.edges, numbers, side="right"))

    def values(self, labels: pa.Array | pa.ChunkedArray) -> torch.Tensor:
        """(y − centre) / scale, n × 1, within ±10."""
        import torch

        values = np.clip((_numbers(labels) - self.centre) / self.scale, -_FAR, _FAR)
        return torch.from_numpy(values.astype(np.float32)).unsqueeze(1)

    def exported(self, labels: pa.Array | pa.ChunkedArray) -> tuple[torch.Tensor, tuple[str, ...]]:
        """The numbers themselves, n × 1."""
        import torch

        return torch.from_numpy(_numbers(labels).astype(np.float32)).unsqueeze(1), ("number",)

    def said(self, outputs: torch.Tensor, loss: Loss) -> Said:
        """The output in the label's own unit; its likelihood is one by definition."""
        return Said(self.words(outputs[:, 0].cpu().numpy()), outputs.new_ones(len(outputs)))

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
        return max(_NORMAL * float((outputs - values).abs().median()), 1e-3)

    def probabilities(self, outputs: torch.Tensor, spread: float, loss: Loss) -> torch.Tensor:
        """Of each range."""
        return self.scores(outputs, spread).softmax(1)

    def credit(self, labels: pa.Array | pa.ChunkedArray, said: pa.Array | pa.ChunkedArray, p: np.ndarray) -> np.ndarray:
        """1 − (y − ŷ)² / var(y), var over these labels (or the scale squared, if they are all one): its mean is R²."""
        y = _numbers(labels)
        return 1 - (y - _numbers(said)) ** 2 / (float(y.var()) or self.scale**2)

    def suggestions(self, strata: np.ndarray, outputs: torch.Tensor, loss: Loss) -> pa.Array:
        """The output itself, where it lies in the range that is suggested."""
        label = self.said(outputs, loss).label
        return pc.if_else(pa.array(strata == self.strata(label)), label, pa.scalar(None, pa.string()))


class Labels(Target):
    """Any number of labels: the label lists them, sorted, with the separator between."""

    kind: Literal["labels"] = "labels"
    names: tuple[str, ...]
    """All labels there are."""
    separator: str
    losses: ClassVar[tuple[str, ...]] = ("binary_cross_entropy",)
    figure: ClassVar[str] = "labels right"

    @property
    def outputs(self) -> int:
        """One a label."""
        return len(self.names)

    @property
    def told(self) -> str:
        """Labels with the separator between."""
        return f"{NOTHING}, or with {self.separator!r} between them some of {', '.join(self.names[:10])}"

    def read(self, label: str) -> str | None:
        """Sorted, each once, if all of them are known."""
        parts = set_text(label.split(self.separator), self.separator)
        return parts if label == NOTHING or set(parts.split(self.separator)) <= {*self.names, NOTHING} else None

    def strata(self, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """The set's own stratum, or that of the others; without others, of the set that fewest labels tell it from."""
        place = super().strata(labels)
        unheard = np.flatnonzero((place < 0) & _bools(pc.is_valid(labels)))
        if not len(unheard):
            return place
        if OTHERS in self.classes:
            place[unheard] = self.classes.index(OTHERS)
        else:
            sets = self._members(pa.array(self.classes, pa.string())).astype(np.float32)
            these = self._members(labels.take(pa.array(unheard))).astype(np.float32)
            place[unheard] = (sets.sum(1) - 2 * these @ sets.T).argmin(1)
        return place

    def values(self, labels: pa.Array | pa.ChunkedArray) -> torch.Tensor:
        """Ones and zeros, n × outputs."""
        import torch

        return torch.from_numpy(self._members(labels).astype(np.float32))

    def exported(self, labels: pa.Array | pa.ChunkedArray) -> tuple[torch.Tensor, tuple[str, ...]]:
        """Ones and zeros, n × labels."""
        return self.values(labels), self.names

    def said(self, outputs: torch.Tensor, loss: Loss) -> Said:
        """The labels more likely than not; Π of how likely each of all is to be as said."""
        p = loss.probabilities(outputs)
        return Said(self.words((p >= 0.5).cpu().numpy()), p.maximum(1 - p).prod(1))

    def outcome(self, outputs: torch.Tensor, values: torch.Tensor, loss: Loss) -> Outcome:
        """``p_label`` is Π of p where the label is there and 1 − p where it is not."""
        from tasks.kernels.losses import Outcome

        p = loss.probabilities(outputs)
        p_label = (values * p + (1 - values) * (1 - p)).prod(1)
        return Outcome(loss.losses(outputs, values), p_label, p >= 0.5, p.maximum(1 - p).prod(1))

    def words(self, predicted: np.ndarray) -> pa.Array:
        """The labels that are there, sorted, with the separator between."""
        row, column = np.nonzero(predicted)
        offsets = np.searchsorted(row, np.arange(len(predicted) + 1))
        names = pa.array(self.names, pa.string()).take(pa.array(column))
        text = pc.binary_join(pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), names), self.separator)
        return pc.if_else(pc.equal(text, ""), NOTHING, text)

    def scores(self, outputs: torch.Tensor, spread: float) -> torch.Tensor:
        """log probability of each set (labels independent given the input), and of all others together."""
        import torch
        from torch.nn.functional import logsigmoid

        sets = [name for name in self.classes if name != OTHERS]
        members = torch.from_numpy(self._members(pa.array(sets, pa.string())).astype(np.float32)).to(outputs)
        scores = logsigmoid(outputs) @ members.T + logsigmoid(-outputs) @ (1 - members).T
        if len(sets) == len(self.classes):
            return scores
        rest = (1 - scores.double().exp().sum(1)).clamp(min=1e-6).log().float()
        # The others are the last, as ``of`` names them.
        return torch.cat([scores, rest.unsqueeze(1)], 1)

    def probabilities(self, outputs: torch.Tensor, spread: float, loss: Loss) -> torch.Tensor:
        """Of each stratum."""
        return self.scores(outputs, spread).softmax(1)

    def credit(self, labels: pa.Array | pa.ChunkedArray, said: pa.Array | pa.ChunkedArray, p: np.ndarray) -> np.ndarray:
        """Share of all labels that are as said: one less the Hamming loss."""
        return (self._members(labels) == self._members(said)).mean(1)

    def suggestions(self, strata: np.ndarray, outputs: torch.Tensor, loss: Loss) -> pa.Array:
        """The set itself; for the others the labels more likely than not, if they are one of those."""
        sets = super().suggestions(strata, outputs, loss)
        if OTHERS not in self.classes:
            return sets
        label, others = self.said(outputs, loss).label, self.classes.index(OTHERS)
        other = pc.if_else(pa.array(self.strata(label) == others), label, pa.scalar(None, pa.string()))
        return pc.if_else(pa.array(strata == others), other, sets)

    @cached_property
    def _index(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(self.names)}

    def _members(self, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """n × outputs, whether each label is there; those unheard of do not count."""
        joined = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels
        lists = pc.split_pattern(pc.fill_null(joined, NOTHING), self.separator)
        column = pc.index_in(lists.flatten(), value_set=pa.array(self.names, pa.string()))
        row = np.repeat(np.arange(len(joined)), pc.list_value_length(lists).to_numpy())
        known = column.is_valid().to_numpy(zero_copy_only=False)
        members = np.zeros((len(joined), len(self.names)), bool)
        members[row[known], column.drop_null().to_numpy()] = True
        return members


class Response(Target):
    """The text a language model answers a prompt with. It is part of the inputs, and the network's one output is its
    mean log-likelihood a token: nothing else is proposed, so nothing is known of other labels."""

    kind: Literal["response"] = "response"
    losses: ClassVar[tuple[str, ...]] = ("likelihood",)
    figure: ClassVar[str] = "token probability"
    smoothed: ClassVar[bool] = False
    judged: ClassVar[bool] = False

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    @property
    def told(self) -> str:
        """Nothing: a response is part of the inputs, and none is put into another's place."""
        return "nothing"

    def read(self, label: str) -> str | None:
        """None."""
        return None

    def strata(self, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """All alike."""
        return np.where(_bools(pc.is_valid(labels)), 0, -1)

    def said(self, outputs: torch.Tensor, loss: Loss) -> Said:
        """Nothing in words; exp of the mean log-likelihood: the geometric mean of the probability a token."""
        p = outputs[:, 0].exp()
        return Said(self.words(p.cpu().numpy()), p)

    def outcome(self, outputs: torch.Tensor, values: torch.Tensor, loss: Loss) -> Outcome:
        """``p_label`` is that mean; it is all there is to predict."""
        from tasks.kernels.losses import Outcome

        p = outputs[:, 0].exp()
        return Outcome(loss.losses(outputs, values), p, p, p)

    def words(self, predicted: np.ndarray) -> pa.Array:
        """None."""
        return pa.array([""] * len(predicted), pa.string())

    def scores(self, outputs: torch.Tensor, spread: float) -> torch.Tensor:
        """Of the one stratum there is."""
        return outputs

    def probabilities(self, outputs: torch.Tensor, spread: float, loss: Loss) -> torch.Tensor:
        """One."""
        return outputs.new_ones(len(outputs), 1)

    def credit(self, labels: pa.Array | pa.ChunkedArray, said: pa.Array | pa.ChunkedArray, p: np.ndarray) -> np.ndarray:
        """The probability a token, geometric mean, of the response that was to be given."""
        return p.astype(np.float64)

    def suggestions(self, strata: np.ndarray, outputs: torch.Tensor, loss: Loss) -> pa.Array:
        """None."""
        return pa.nulls(len(strata), pa.string())


_KINDS: dict[str, type[Target]] = {"number": Number, "labels": Labels, "response": Response}


def kind_of(kind: TargetKind) -> type[Target]:
    """The target of this kind."""
    return _KINDS.get(kind, Target)


def target_of(samples: Artefact) -> Target:
    """What an ingested artefact's labels say; before 0.6 they were classes."""
    return read_target(samples.facts.get("target"), samples.facts["classes"])


def read_target(said: dict[str, Any] | None, classes: list[str] | tuple[str, ...]) -> Target:
    """A target as facts and manifests have it: None for classes, which say all that is to be said."""
    if said is None:
        return Target(classes=tuple(classes))
    return _KINDS[said["kind"]].model_validate(said)


def number_text(numbers: pa.Array) -> pa.Array:
    """float64 as the shortest text that reads back the same, so that equal ones are equal; minus zero is zero."""
    return pc.add(numbers, 0.0).cast(pa.string())


def set_text(labels: Iterable[Any], separator: str) -> str:
    """A set of labels as it is known: sorted, each once, or ``NOTHING``."""
    return separator.join(sorted({str(label).strip() for label in labels if label is not None} - {""})) or NOTHING


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


def labels_from(counts: dict[str, int], separator: str, where: str) -> Labels:
    """The target of sets of labels.

    Args:
        counts: of each set, as its label has it, among the training samples.
        separator: between the labels of a set.
        where: the source, for the message.

    Raises:
        BadInput: there is one set only.
    """
    names = sorted({name for text in counts for name in text.split(separator)} - {NOTHING})
    common = [text for text, n in sorted(counts.items(), key=lambda item: (-item[1], item[0])) if n > 1][:SETS]
    others = len(counts) > len(common)
    if len(common) + others < 2 or not names:
        shown = ", ".join(sorted(counts)[:5]) + (" …" if len(counts) > 5 else "")
        raise BadInput(
            where=where,
            expected="at least two different sets of labels, one of them on two training samples",
            got=f"{len(counts):,} sets ({shown or 'no usable label'}), {len(common):,} of them on two",
            do="Check the label column, its separator and the split column.",
        )
    classes = (*sorted(common), *([OTHERS] if others else []))
    return Labels(classes=classes, names=tuple(names), separator=separator)


def _numbers(labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
    """float64, NaN where null."""
    return _flat(labels.cast(pa.float64()), np.float64)


def _flat(column: pa.Array | pa.ChunkedArray, kind: type = np.int64) -> np.ndarray:
    joined = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return joined.to_numpy(zero_copy_only=False).astype(kind)


def _bools(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return _flat(column, bool)
