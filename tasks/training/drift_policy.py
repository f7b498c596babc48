"""Runs that build upon earlier ones: when new samples count as drifted, and when all is trained anew."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from tasks.core.plugins import Component


class DriftPolicy(Component):
    """When the distribution of new samples' suspicion has moved, and for how long networks are built upon.

    New samples are held out of every network of the base, as each settled one is of its own fold's: as long as the
    source is what it was, both bear suspicions of one distribution. D is the two-sample Kolmogorov–Smirnov distance
    sup_s |F_new(s) − F_settled(s)|, p its chance under one distribution (scipy.stats.ks_2samp).
    """

    level: float = Field(default=0.001, gt=0, lt=1, description="Alarm where p is below this …")
    distance: float = Field(default=0.1, ge=0, le=1, description="… and D at least this: of many, any shift is sure.")
    least: int = Field(default=30, ge=2, description="Fewer new samples are not judged.")
    refit_days: float | None = Field(
        default=30.0,
        gt=0,
        description="With base auto: networks older than this are trained anew; none: never for age.",
    )
    refit_on_drift: bool = Field(
        default=True, description="With base auto: the run after an alarm trains anew, on the new samples too."
    )

    def judged(self, suspicion: np.ndarray, flagged: np.ndarray, new: np.ndarray) -> dict[str, Any]:
        """What the new samples' suspicions say.

        Args:
            suspicion: of n samples, by the deciding detector.
            flagged: n bool.
            new: n bool, those that the networks' own run did not have.

        Returns:
            Counts, shares flagged (None of nobody), D and p (None of too few), alarm, and a sentence.
        """
        from scipy.stats import ks_2samp

        count = int(new.sum())
        shares = {name: float(flagged[who].mean()) if who.any() else None for name, who in _both(new)}
        found: dict[str, Any] = {"new": count, "settled": len(new) - count, "share_flagged": shares}
        if count < self.least or count == len(new):
            words = "none is new" if not count else f"{count:,} are new, too few to judge (of {self.least:,})"
            return found | {"distance": None, "p_value": None, "alarm": False, "sentence": words}
        distance, p = map(float, ks_2samp(suspicion[new], suspicion[~new])[:2])  # pyright: ignore[reportArgumentType]
        alarm = p < self.level and distance >= self.distance
        words = (
            f"{count:,} are new: {shares['new']:.1%} of them flagged, {shares['settled']:.1%} of the others; their "
            f"suspicions {'have drifted' if alarm else 'have not drifted'} (D {distance:.3f}, p {p:.2g})"
        )
        return found | {"distance": distance, "p_value": p, "alarm": alarm, "sentence": words}


def _both(new: np.ndarray) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]:
    return ("settled", ~new), ("new", new)
