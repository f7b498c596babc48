"""A budget that finds itself, and says what it expects of the samples it flags."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.core.errors import BadConfig
from tasks.decision.budgets import Budget, BudgetEstimate, Estimate, Ranking
from tasks.scoring.wrongness import Wrongness

_DEFAULT = 0.8


class Canary(Budget, kind="canary"):
    """As many as are surely wrong: the longest prefix that has the wished-for precision with a certainty of 95 %.

    Of the first m samples in the order of suspicion at least H_m labels are wrong, the larger of what two readings of
    the same evidence allow, and at most m and n π_sure, π_sure what the share π exceeds with a certainty of 95 %:

        Σ_{i≤m} P_i       P_i the chance that label i is wrong by the sure reading of tasks/scoring/wrongness.py
        n π_sure F_m      F_m the share of canaries that are as suspect as the m-th, less one standard error

    and precision is at least H_m / m. No more are flagged than are thought wrong, n π, or n π_sure where a range alone
    is stated. Where wrong labels cannot be told from unpredictable ones nothing is flagged, and where the observers are
    no better than chance, or know the classes of less than half, nothing is stated either. Precision and recall are
    stated of those that no guard keeps, as a figure within a 95 % range, whose lower end counts H by the lower reading
    and may lie below the precision wished for:

        precision   from H / m to min(1, n π_high / m)
        recall      from the lower of H / (n π_low) and Σ P^high / (n π_high) to the most that the ranges allow
    """

    precision: float = Field(
        default=_DEFAULT,
        gt=0,
        lt=1,
        description="Flag as many as have at least this precision with a certainty of 95 %.",
    )

    @property
    def needs_canaries(self) -> bool:
        """Always."""
        return True

    @property
    def name(self) -> str:
        """With the wished-for precision, where it is not the default."""
        return "canary" if self.precision == _DEFAULT else f"canary_{self.precision:g}"

    def find(self, ranking: Ranking) -> BudgetEstimate:
        """The largest m with H_m / m at least the precision wished for, and m ≤ n π.

        Raises:
            BadConfig: the run has no canaries.
        """
        wrongness, n = ranking.wrongness, len(ranking.suspicion)
        if wrongness is None:
            raise BadConfig(
                where="option budget.kind canary",
                expected="a run with canaries",
                got="none",
                do="Set canaries.share above 0 and folds to 2 or more, or choose another budget.",
            )
        share = wrongness.share
        if share is None:
            why = "are no better than chance" if wrongness.recognised.all() else "know the classes of too few"
            return BudgetEstimate(count=0, note=f"nothing is known of any label: the observers {why}")
        order = np.argsort(-ranking.suspicion, kind="stable")
        # Without a figure for the share what it surely exceeds is the most that is wrong.
        most = min(n, round((share.sure if share.value is None else share.value) * n))
        least = _least_hits(ranking, wrongness.sure[order[:most]], share.sure * n)
        enough = np.flatnonzero(least >= self.precision * np.arange(1, most + 1))
        estimate = BudgetEstimate(
            count=int(enough[-1]) + 1 if len(enough) else 0,
            wrong=Estimate(value=share.value, low=share.low, high=share.high),
        )
        return _with_rates(estimate, ranking, wrongness, order[: estimate.count])

    def restate(self, estimate: BudgetEstimate, ranking: Ranking, flagged: np.ndarray) -> BudgetEstimate:
        """Precision and recall of those flagged in the end; of none there is neither."""
        if ranking.wrongness is None or int(flagged.sum()) == estimate.count:
            return estimate
        return _with_rates(estimate, ranking, ranking.wrongness, np.flatnonzero(flagged))


def _least_hits(ranking: Ranking, chance: np.ndarray, wrong: float) -> np.ndarray:
    """H_m of every prefix of the ranking with these chances, where so many labels are wrong in all."""
    hits, m = np.cumsum(chance), len(chance)
    if ranking.canaries is not None and len(ranking.canaries):
        each = np.sort(-ranking.suspicion)[:m]
        found = np.searchsorted(np.sort(-ranking.canaries), each, side="right") / len(ranking.canaries)
        hits = np.maximum(hits, wrong * (found - np.sqrt(found * (1 - found) / len(ranking.canaries))))
    return np.clip(hits, 0, np.minimum(wrong, np.arange(1, m + 1)))


def _with_rates(
    estimate: BudgetEstimate, ranking: Ranking, wrongness: Wrongness, flagged: np.ndarray
) -> BudgetEstimate:
    """The estimate with the precision and recall of these samples, all of them among the first ``count``."""
    share, m, n = wrongness.share, len(flagged), len(wrongness.low)
    if share is None or not m:
        return estimate.model_copy(update={"precision": None, "recall": None})
    first = np.argsort(-ranking.suspicion, kind="stable")[: estimate.count]
    of_all = _least_hits(ranking, wrongness.low[first], share.fit[0] * n)[-1]
    # Whom a guard keeps may be wrong, each of them.
    least = max(min(wrongness.low[flagged].sum(), share.fit[0] * n), of_all - (estimate.count - m))
    most = min(m, max(share.high * n, least))
    expected = None if share.value is None else min(float(wrongness.probability[flagged].sum()), share.value * n)
    precision = _within(None if expected is None else expected / m, least / m, most / m)
    fewest, all_wrong = (max(end * n, least, 1e-9) for end in share.fit)
    low = min(least / fewest, min(float(wrongness.high[flagged].sum()), most) / all_wrong)
    recall = _within(
        None if expected is None else expected / max(share.value or 0, 1e-9) / n, low, min(1, most / fewest)
    )
    return estimate.model_copy(update={"precision": precision, "recall": recall})


def _within(value: float | None, low: float, high: float) -> Estimate:
    return Estimate(value=None if value is None else float(np.clip(value, low, high)), low=low, high=high)
