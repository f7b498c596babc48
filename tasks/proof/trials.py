"""The retrainings of a proof: which arm of which flags, under which seed, and which of them are trained together."""

from __future__ import annotations

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

    members: list[Trial]

    @property
    def name(self) -> str:
        """Of the only one, or how many there are."""
        return self.members[0].name if len(self.members) == 1 else f"{len(self.members)} networks"


def trials_of(flags: Artefact | list[Artefact], arms: Arm | list[Arm], seeds: list[int]) -> list[Trial]:
    """One trial for each seed, with the flags and the arm beside it or those that all of them have."""
    flags = flags if isinstance(flags, list) else [flags] * len(seeds)
    all_arms: list[Arm] = arms if isinstance(arms, list) else [arms] * len(seeds)
    return [Trial(flags=f, arm=arm, seed=seed) for f, arm, seed in zip(flags, all_arms, seeds, strict=True)]
