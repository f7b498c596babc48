"""The retrainings of a proof: which arm of which flags, under which seed, and which of them are trained together."""

from __future__ import annotations

from itertools import accumulate
from typing import ClassVar

from tasks.pipeline.artefacts import Artefact, Bundle
from tasks.proof.arms import Arm


class Trial(Bundle):
    """One network that is trained from scratch."""

    flags: Artefact
    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        """Of the arm and its seed."""
        return f"{self.arm}, seed {self.seed}"


class Trials(Bundle):
    """Those that one task run trains."""

    only_shown: ClassVar[frozenset[str]] = frozenset({"before", "total"})
    members: list[Trial]
    before: int = 0
    """How many of all trials come before these."""
    total: int | None = None
    """How many trials there are in all; None where that is not known."""

    @property
    def name(self) -> str:
        """Of the only one, or how many there are."""
        return self.members[0].name if len(self.members) == 1 else f"{len(self.members)} networks"

    def label(self, index: int) -> str:
        """What progress calls one of the members, by its index among them: with its place among all trials, unless
        these are all."""
        is_part = self.total is not None and self.total > len(self.members)
        place = f" ({self.before + index + 1} of {self.total})" if is_part else ""
        return f"retrain {self.members[index].name}{place}"


def trials_of(flags: Artefact | list[Artefact], arms: Arm | list[Arm], seeds: list[int]) -> list[Trial]:
    """One trial for each seed, with the flags and the arm beside it or those that all of them have."""
    flags = flags if isinstance(flags, list) else [flags] * len(seeds)
    all_arms: list[Arm] = arms if isinstance(arms, list) else [arms] * len(seeds)
    return [Trial(flags=f, arm=arm, seed=seed) for f, arm, seed in zip(flags, all_arms, seeds, strict=True)]


def numbered(stacks: list[list[Trial]]) -> list[Trials]:
    """The trials of each task run, which knows their places among all."""
    *befores, total = accumulate(map(len, stacks), initial=0)
    return [
        Trials(members=members, before=before, total=total) for members, before in zip(stacks, befores, strict=True)
    ]
