"""One class of several, and what every other kind of target must be able to tell."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    import torch

    from tasks.kernels.losses import Loss, Outcome
    from tasks.kernels.tails import Tail


class Few(NamedTuple):
    """The few of n labels that a figure hangs on."""

    weigh: np.ndarray
    """Those that make up more than half of what it counts, n bool; none where these are not few."""
    far: np.ndarray
    """Others that lie far from the many, n bool; none where none weigh."""

    @property
    def either(self) -> np.ndarray:
        """n bool"""
        return self.weigh | self.far


class Prediction(NamedTuple):
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
    has_class_probabilities: ClassVar[bool] = True
    """Whether a network says how likely each stratum is."""
    strata_called: ClassVar[tuple[str, str]] = ("class", "classes")
    """What a person calls a stratum, and several."""
    smoothed: ClassVar[bool] = True
    """Whether a share of what a loss compares with may be spread over the outputs."""
    ordered: ClassVar[bool] = False
    """Whether strata border on one another: which of them are taken for which then tells of borders, not of noise."""

    @property
    def outputs(self) -> int:
        """Outputs of the network."""
        return len(self.classes)

    @property
    def description(self) -> str:
        """What a label may be, in words."""
        return f"a class: {', '.join(self.classes[:10])}"

    def read(self, label: str) -> str | None:
        """A label that a person wrote as it is known here; None if it is none."""
        return label if label in self.classes else None

    def strata(self, labels: pa.Array | pa.ChunkedArray) -> np.ndarray:
        """Stratum of each label, int64; −1 where it is null or unheard of."""
        index = pc.fill_null(pc.index_in(labels, value_set=pa.array(self.classes, pa.string())), -1)
        return flat(index)

    def names_of(self, labels: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Name of the stratum of each label."""
        return pa.array(self.classes, pa.string()).take(pa.array(self.strata(labels)))

    def values(self, labels: pa.Array | pa.ChunkedArray) -> torch.Tensor | None:
        """What a loss compares with, n × outputs; None where that is the stratum."""
        return None

    def export(self, labels: pa.Array | pa.ChunkedArray) -> tuple[torch.Tensor, tuple[str, ...]]:
        """(labels for whoever trains on a version, what their numbers are about): n positions among the classes."""
        import torch

        return torch.from_numpy(self.strata(labels)), self.classes

    def outcome(self, outputs: torch.Tensor, values: torch.Tensor, loss: Loss) -> Outcome:
        """What a network says of n labelled samples; ``predicted`` is the class of the largest output."""
        return loss.outcome(outputs, values)

    def words(self, predicted: np.ndarray) -> pa.Array:
        """Predictions, as ``outcome`` has them, as the labels they stand for."""
        return pa.array(self.classes, pa.string()).take(pa.array(predicted))

    def said(self, outputs: torch.Tensor, loss: Loss) -> Prediction:
        """The label of the largest output, and its probability."""
        index = outputs.argmax(1)
        p = loss.probabilities(outputs).gather(1, index.unsqueeze(1)).squeeze(1)
        return Prediction(self.words(index.cpu().numpy()), p)

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
        return bools(pc.equal(labels, said))

    def few(self, labels: pa.Array | pa.ChunkedArray, trained: pa.Array | pa.ChunkedArray) -> Few:
        """The few labels that ``credit`` hangs on; of classes each counts the same.

        Args:
            labels: that are tested on, n.
            trained: those of the training samples.
        """
        nobody = np.zeros(len(labels), bool)
        return Few(nobody, nobody)

    def tail(self, labels: pa.Array | pa.ChunkedArray, base: np.ndarray) -> Tail | None:
        """Which labels lie far from the many; None of what is no number.

        Args:
            labels: n.
            base: the samples that tell where the many lie, n bool.
        """
        return None

    def suggestions(self, strata: np.ndarray, outputs: torch.Tensor, loss: Loss) -> pa.Array:
        """The label to suggest for each of ``strata``, null where that is negative."""
        return pa.array(self.classes, pa.string()).take(pa.array(strata, mask=strata < 0))


def flat(column: pa.Array | pa.ChunkedArray, kind: type = np.int64) -> np.ndarray:
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return array.to_numpy(zero_copy_only=False).astype(kind)


def bools(column: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return flat(column, bool)
