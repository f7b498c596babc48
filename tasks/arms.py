"""The arms of a verification: what each of them trains on."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from tasks.parts import Part

Arm = Literal["untouched", "cleaned", "random"]
ARMS: tuple[Arm, ...] = ("untouched", "cleaned", "random")


class Verification(Part):
    """How a cleaning is put to the test."""

    seeds: int = Field(default=3, ge=1, description="Retrainings of each arm; the arms share their seeds.")

    def pairs(self) -> tuple[list[Arm], list[int]]:
        """Every arm under every seed, as two lists of equal length."""
        pairs: list[tuple[Arm, int]] = [(arm, seed) for seed in range(self.seeds) for arm in ARMS]
        return [arm for arm, _ in pairs], [seed for _, seed in pairs]


def dropped(ids: np.ndarray, labels: np.ndarray, flagged: np.ndarray, arm: Arm, seed: int) -> np.ndarray:
    """Which samples an arm leaves out, as a mask.

    ``untouched`` none, ``cleaned`` the flagged, ``random`` as many of each class, drawn without replacement: the
    control that tells cleaning from merely having less data.

    Args:
        ids: n sample ids; the draw is made in their order, so that row order changes nothing.
        labels: n given classes.
        flagged: n, whether the sample is flagged.
        arm: which arm.
        seed: of the draw.
    """
    if arm == "untouched":
        return np.zeros(len(flagged), bool)
    if arm == "cleaned":
        return flagged.copy()
    order = np.argsort(ids, kind="stable")
    # A stream of its own: training under the same seed must not be tied to what was drawn here.
    generator = np.random.default_rng([seed, 0x7A4D])
    mask = np.zeros(len(flagged), bool)
    for label in np.unique(labels[flagged]):
        members = order[labels[order] == label]
        mask[generator.choice(members, int(flagged[members].sum()), replace=False)] = True
    return mask
