"""A search for a budget by successive halving: which are tried, in how many rungs, under which seeds."""

from __future__ import annotations

from typing import NamedTuple

from pydantic import Field

from tasks.core.plugins import Component
from tasks.decision.budgets import BudgetChoice
from tasks.pipeline.artefacts import Artefact, Bundle

# The networks that choose a budget are not those that it is then verified by: their luck would count twice.
_FIRST_SEED = 10_000
# Retrainings of each budget in the first round: of one, half of what is left would be left by its luck.
_SEEDS = 2


class Rung(NamedTuple):
    """One round: those that are left are retrained under so many seeds, and the better half goes on."""

    number: int
    seeds: list[int]


class BudgetSearch(Component):
    """Budgets that are tried on the validation split before the test split is read, once, for the one that is left.

    Each rung takes twice the seeds of the one before it, whose retrainings it reuses, and keeps the better half
    (Jamieson & Talwalkar, "Non-stochastic Best Arm Identification and Hyperparameter Optimization", AISTATS 2016).
    """

    budgets: list[BudgetChoice] = Field(
        default=[], max_length=31, description="Others that are tried beside budget; none: there is nothing to search."
    )

    @property
    def rungs(self) -> list[Rung]:
        """⌈log₂ m⌉ rounds leave one of m; none where there is one from the start."""
        count = (len(self.budgets)).bit_length()
        return [Rung(i + 1, list(range(_FIRST_SEED, _FIRST_SEED + _SEEDS * 2**i))) for i in range(count)]

    @property
    def splits(self) -> tuple[str, ...]:
        """What must not be empty."""
        return ("validation",) if self.budgets else ()


class Search(Bundle):
    """Where a search stands: every candidate, and what each finished round left of them."""

    candidates: list[Artefact]
    """Flags by each budget, the default one first."""
    rounds: list[Artefact] = Field(default=[])

    @property
    def survivors(self) -> list[int]:
        """The indices of the candidates that are left; of all before the first round."""
        return self.rounds[-1].facts["survivors"] if self.rounds else list(range(len(self.candidates)))

    @property
    def best(self) -> Artefact:
        """The one that is left, or the first of them."""
        return self.candidates[self.survivors[0]]

    def pairs(self, rung: Rung) -> tuple[list[Artefact], list[int]]:
        """Each that is left under each seed of a rung, as two lists of equal length."""
        pairs = [(self.candidates[index], seed) for index in self.survivors for seed in rung.seeds]
        return [flags for flags, _ in pairs], [seed for _, seed in pairs]

    def after(self, round_: Artefact) -> Search:
        """The search with one more finished round."""
        return self.model_copy(update={"rounds": [*self.rounds, round_]})


def better_half(accuracy: dict[int, float], flagged: dict[int, int]) -> list[int]:
    """Of m indices the ⌈m/2⌉ with the highest accuracy, ascending; of equals those that flag less, then the first.

    Args:
        accuracy: index → mean accuracy.
        flagged: index → how many samples it flags.
    """
    # Equal counts give equal means but for the last bits.
    order = sorted(accuracy, key=lambda index: (-round(accuracy[index], 12), flagged[index], index))
    return sorted(order[: -(-len(order) // 2)])
