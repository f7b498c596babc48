"""Budgets: each says how many samples are flagged. To add one, add a file here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from tasks.core.plugins import Choice, Component, Registry
from tasks.scoring.diagnosis import Diagnosis
from tasks.scoring.wrongness import Wrongness


@dataclass(frozen=True)
class Ranking:
    """What a budget may look at; n training samples."""

    suspicion: np.ndarray
    """n, of the deciding detector"""
    labels: np.ndarray
    """n given classes"""
    predicted: np.ndarray
    """n classes, by the network that never saw the sample"""
    wrongness: Wrongness | None
    """The chance that each label is wrong; None in a run without canaries."""
    canaries: np.ndarray | None = None
    """m suspicions of the canaries under their planted labels; None of a detector that was not asked about them."""

    @property
    def diagnoses(self) -> tuple[Diagnosis, ...]:
        """What the data carry; nothing in a run without canaries."""
        return self.wrongness.diagnoses if self.wrongness else ()


class Estimate(BaseModel):
    """A range that holds the truth with 95 % confidence, and a figure in it where the data carry one."""

    model_config = ConfigDict(frozen=True)
    value: float | None = None
    low: float
    high: float


class BudgetEstimate(BaseModel):
    """How many samples to flag, and the estimated share of wrong labels among them."""

    model_config = ConfigDict(frozen=True)
    count: int
    """How many are flagged where no guard keeps any of them."""
    wrong: Estimate | None = None
    """Share of wrong labels among all."""
    precision: Estimate | None = None
    """Share of wrong labels among the flagged."""
    recall: Estimate | None = None
    """Share of the wrong labels that is flagged."""
    note: str | None = None
    """What a reader should know before relying on it."""

    def without_rates(self, why: str) -> BudgetEstimate:
        """The same without precision and recall, which are true of other samples; itself where it states neither."""
        if self.precision is None and self.recall is None:
            return self
        note = f"no precision is stated of the flagged: {why}"
        notes = note if self.note is None else f"{self.note}; {note}"
        return self.model_copy(update={"precision": None, "recall": None, "note": notes})


class Budget(Component):
    """Base of all budgets."""

    kind: Any = None

    @property
    def needs_canaries(self) -> bool:
        """Whether a run without canaries has no use for it."""
        return False

    @property
    def name(self) -> str:
        """What the comparison's table calls it."""
        return str(self.kind)

    def find(self, ranking: Ranking) -> BudgetEstimate:
        """How many of these samples to flag, at most."""
        raise TypeError(f"{type(self).__name__} must define find()")

    def restate(self, estimate: BudgetEstimate, ranking: Ranking, flagged: np.ndarray) -> BudgetEstimate:
        """The estimate for the samples that are flagged in the end: guards keep some of the first ``count``.

        A budget that cannot tell these from the others states neither precision nor recall where any is kept.

        Args:
            estimate: by ``find``, of the same ranking.
            ranking: n samples.
            flagged: whether each is flagged, n bool; all of them among the first ``count``.
        """
        spared = estimate.count - int(flagged.sum())
        return (
            estimate.without_rates(f"guards keep {spared:,} of the {estimate.count:,} it was found for")
            if spared
            else estimate
        )


BUDGETS: Registry[Budget] = Registry(__name__, Budget)


class BudgetChoice(Choice[Budget], registry=BUDGETS):
    """How many samples are flagged."""

    kind: str = Field(default="canary", description="How it is found.")
