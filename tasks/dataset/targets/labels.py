"""Any number of labels."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadInput
from tasks.dataset.targets.target import Prediction, Target, bools

if TYPE_CHECKING:
    import torch

    from tasks.kernels.losses import Loss, Outcome

SETS = 50
"""Strata of a set of labels, at most: the commonest sets, and one for all others."""
OTHERS = "(other sets)"
NOTHING = "(none)"
"""The label of a sample that has none of the labels."""


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
    def description(self) -> str:
        """Labels with the separator between."""
        return f"{NOTHING}, or with {self.separator!r} between them some of {', '.join(self.names[:10])}"

    def read(self, label: str) -> str | None:
        """Sorted, each once, if all of them are known."""
        text = set_text(label.split(self.separator), self.separator)
        return text if text == NOTHING or set(text.split(self.separator)) <= set(self.names) else None

    def strata(self, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """The set's own stratum, or that of the others; without others, of the set that fewest labels tell it from."""
        place = super().strata(labels)
        unheard = np.flatnonzero((place < 0) & bools(pc.is_valid(labels)))
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

    def export(self, labels: pa.Array | pa.ChunkedArray) -> tuple[torch.Tensor, tuple[str, ...]]:
        """Ones and zeros, n × labels."""
        return self.values(labels), self.names

    def said(self, outputs: torch.Tensor, loss: Loss) -> Prediction:
        """The labels more likely than not; Π of how likely each of all is to be as said."""
        p = loss.probabilities(outputs)
        return Prediction(self.words((p >= 0.5).cpu().numpy()), p.maximum(1 - p).prod(1))

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
        return {name: index for index, name in enumerate(self.names)}

    def _members(self, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """n × outputs, whether each label is there; those unheard of do not count."""
        column = labels.combine_chunks() if isinstance(labels, pa.ChunkedArray) else labels
        lists = pc.split_pattern(pc.fill_null(column, NOTHING), self.separator)
        index = pc.index_in(lists.flatten(), value_set=pa.array(self.names, pa.string()))
        row = np.repeat(np.arange(len(column)), pc.list_value_length(lists).to_numpy())
        is_known = index.is_valid().to_numpy(zero_copy_only=False)
        members = np.zeros((len(column), len(self.names)), bool)
        members[row[is_known], index.drop_null().to_numpy()] = True
        return members


def set_text(labels: Iterable[Any], separator: str) -> str:
    """A set of labels as it is known: sorted, each once, or ``NOTHING``."""
    return separator.join(sorted({str(label).strip() for label in labels if label is not None} - {""})) or NOTHING


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
        sets = ", ".join(sorted(counts)[:5]) + (" …" if len(counts) > 5 else "")
        raise BadInput(
            where=where,
            expected="at least two different sets of labels, one of them on two training samples",
            got=f"{len(counts):,} sets ({sets or 'no usable label'}), {len(common):,} of them on two",
            do="Check the label column, its separator and the split column.",
        )
    classes = (*sorted(common), *([OTHERS] if others else []))
    return Labels(classes=classes, names=tuple(names), separator=separator)
