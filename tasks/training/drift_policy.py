"""Runs that build upon earlier ones: when new samples count as drifted, and when all is trained anew."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from tasks.core.plugins import Component

# Of so many samples that nothing but a large shift is sure, any other is sure of many: both are asked for. One night
# in a thousand without a drift passes the level, and of those hardly one the distance.
_LEVEL, _DISTANCE = 0.001, 0.1
# Fewer new samples are not judged: of thirty, two distributions must lie a third apart to differ at the level.
_LEAST = 30


class DriftPolicy(Component):
    """When the distribution of new samples' suspicion has moved, and for how long networks are built upon.

    New samples are held out of every network of the base, as each sample of the base is of its own fold's. As long as
    the source is unchanged, both have suspicions of one distribution. D is the two-sample Kolmogorov–Smirnov distance
    sup_s |F_new(s) − F_settled(s)|, p its chance under one distribution (scipy.stats.ks_2samp).
    Alarm where p < .001 and D ≥ .1.
    """

    refit_days: float | None = Field(
        default=30.0,
        gt=0,
        description="With base auto: networks older than this are trained anew; none: never for age.",
    )
    refit_on_drift: bool = Field(
        default=True, description="With base auto: the run after an alarm trains anew, on the new samples too."
    )

    def compare(self, suspicion: np.ndarray, flagged: np.ndarray, new: np.ndarray) -> dict[str, Any]:
        """Compare the new samples' suspicions with those of the base.

        Args:
            suspicion: of n samples, by the deciding detector.
            flagged: n bool.
            new: n bool, those that the networks' own run did not have.

        Returns:
            Counts, shares flagged (None of no sample), D and p (None of too few), alarm, and a sentence.
        """
        from scipy.stats import ks_2samp

        count = int(new.sum())
        shares = {name: float(flagged[who].mean()) if who.any() else None for name, who in _both(new)}
        result: dict[str, Any] = {"new": count, "settled": len(new) - count, "share_flagged": shares}
        if count < _LEAST or count == len(new):
            words = "none is new" if not count else f"{count:,} are new, too few to judge (of {_LEAST:,})"
            return result | {"distance": None, "p_value": None, "alarm": False, "sentence": words}
        distance, p = map(float, ks_2samp(suspicion[new], suspicion[~new])[:2])  # pyright: ignore[reportArgumentType]
        alarm = p < _LEVEL and distance >= _DISTANCE
        words = (
            f"{count:,} are new: {shares['new']:.1%} of them flagged, {shares['settled']:.1%} of the others; their "
            f"suspicions {'have drifted' if alarm else 'have not drifted'} (D {distance:.3f}, p {p:.2g})"
        )
        return result | {"distance": distance, "p_value": p, "alarm": alarm, "sentence": words}


def _both(new: np.ndarray) -> tuple[tuple[str, np.ndarray], tuple[str, np.ndarray]]:
    return ("settled", ~new), ("new", new)
