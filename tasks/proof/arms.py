"""The arms of a verification: what each of them trains on, and what a cleaned dataset keeps."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from tasks.core.plugins import Component

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.dataset.targets import Target

Arm = Literal["untouched", "cleaned", "random", "relabelled"]
ARMS: tuple[Arm, ...] = ("untouched", "cleaned", "random", "relabelled")
TREATMENTS: tuple[Arm, ...] = ("cleaned", "relabelled")
"""Those that a cleaning might be; the others are controls."""


class Verification(Component):
    """How a cleaning is put to the test, and what it must show before it becomes the current version."""

    seeds: int = Field(default=5, ge=1, description="Retrainings of each arm; the arms share their seeds.")
    remedy: Literal["remove", "relabel"] = Field(
        default="remove",
        description="What the published version does with the flagged: remove them, or give them their suggested label "
        "where there is one and remove the rest. The verdict is about the same.",
    )
    other_remedy: bool = Field(
        default=True,
        description="Put the remedy that is not published to the test too, to see which is better; without it a proof "
        "costs a quarter less.",
    )
    margin: float = Field(
        default=0.0,
        ge=-1,
        lt=1,
        description="Promote only if the lower bound of the gain in accuracy against random removal is above this.",
    )
    class_loss: float = Field(
        default=0.05,
        ge=0,
        le=1,
        description="Promote only if no class's mean accuracy falls by more than this against the untouched data.",
    )

    @property
    def treatment(self) -> Arm:
        """The arm that the verdict is about."""
        return "cleaned" if self.remedy == "remove" else "relabelled"

    @property
    def arms(self) -> tuple[Arm, ...]:
        """Those that are put to the test, the untouched one first."""
        return tuple(arm for arm in ARMS if arm not in TREATMENTS or arm == self.treatment or self.other_remedy)

    def as_decided(self, flags: dict[str, Any]) -> Verification:
        """The same, but that it relabels where a reviewer did: who suggests nothing for a sample has it removed.

        Args:
            flags: facts of the flags.
        """
        relabels = (flags.get("review") or {}).get("relabelled")
        return self.model_copy(update={"remedy": "relabel"}) if relabels else self

    def pairs(self, flagged: int) -> tuple[list[Arm], list[int]]:
        """Every arm under every seed, as two lists of equal length; of the first alone if nothing is flagged."""
        arms = self.arms if flagged else self.arms[:1]
        pairs: list[tuple[Arm, int]] = [(arm, seed) for seed in range(self.seeds) for arm in arms]
        return [arm for arm, _ in pairs], [seed for _, seed in pairs]


def apply_arm(
    ids: np.ndarray,
    labels: np.ndarray,
    flagged: np.ndarray,
    suggested: np.ndarray,
    arm: Arm,
    seed: int = 0,
    differs: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """What an arm keeps of n samples, and the labels they then bear.

    untouched    everything
    cleaned      what is not flagged
    relabelled   the same, and the flagged that have a suggested label other than the given one, under that label
    random       as many of each class less as are flagged, drawn without replacement: the control that tells cleaning
                 from merely having less data

    Args:
        ids: n sample ids; the draw is made in their order, so that row order changes nothing.
        labels: n given classes.
        flagged: n, whether the sample is flagged.
        suggested: n suggested classes, −1 where there is none.
        arm: which arm.
        seed: of the draw; the other arms draw nothing.
        differs: n, whether the suggested label is another than the given one, where classes do not say all (two
            numbers of one range); by default whether the classes differ.

    Returns:
        (n, whether the sample is kept; n classes, those of samples that are not kept as they were given).
    """
    if arm == "untouched":
        return np.ones(len(flagged), bool), labels.copy()
    if arm == "random":
        return ~_draw_removals(ids, labels, flagged, seed), labels.copy()
    other = suggested != labels if differs is None else differs
    relabel = flagged & (suggested >= 0) & other & (arm == "relabelled")
    return ~flagged | relabel, np.where(relabel, suggested, labels)


def _draw_removals(ids: np.ndarray, labels: np.ndarray, flagged: np.ndarray, seed: int) -> np.ndarray:
    order = np.argsort(ids, kind="stable")
    # A stream of its own: training under the same seed must not be tied to what was drawn here.
    generator = np.random.default_rng([seed, 0x7A4D])
    mask = np.zeros(len(flagged), bool)
    for label in np.unique(labels[flagged]):
        members = order[labels[order] == label]
        mask[generator.choice(members, int(flagged[members].sum()), replace=False)] = True
    return mask


def flagged_among(flags: pa.Table, ids: np.ndarray, target: Target) -> tuple[np.ndarray, np.ndarray, pa.Array]:
    """Of some samples, which are flagged and what is suggested for each.

    Args:
        flags: schema ``FLAGS``; a sample that it does not name is not flagged.
        ids: n sample ids.
        target: what the labels say.

    Returns:
        (n bool; n int64, the stratum suggested, −1 where none that there is; the label itself, n text).
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    names = flags["sample_id"].combine_chunks()
    index = pc.fill_null(pc.index_in(pa.array(ids, pa.string()), value_set=names), -1)
    index = index.to_numpy(zero_copy_only=False)
    in_flags = index >= 0
    flagged = np.zeros(len(ids), bool)
    flagged[in_flags] = flags["flag"].to_numpy()[index[in_flags]]
    suggestions = flags["suggested_label"].combine_chunks().take(pa.array(index, mask=~in_flags))
    return flagged, target.strata(suggestions), suggestions
