"""A budget that finds itself, and says what it expects of the samples it flags."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from tasks.core.errors import BadConfig
from tasks.decision.budgets import Budget, BudgetEstimate, Estimate, Ranking
from tasks.scoring.wrongness import Wrongness

# Numbers of flagged samples that are looked at.
_CUTOFFS = 2000
# Of the replicates' luck: 200 of them say the same from any seed, and a run should not differ from its repetition.
_SEED = 0


class Canary(Budget, kind="canary"):
    """As many as labels are wrong, or as many as keep a wished-for precision (tasks/scoring/wrongness.py).

    With P_i the chance that label i is wrong, and samples in the order of suspicion, the first m hold Σ_{i≤m} P_i wrong
    labels: precision is that over m, recall over Σ P_i. Of those that no guard keeps both are stated anew, with the sum
    over them alone. Intervals are 95 %, over bootstrap replicates of samples and
    canaries and over which of the flagged really are wrong. They do not cover that the two observers of
    tasks/kernels/wrongness.py may err alike.
    """

    precision: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="Flag as many as have at least this precision at the lower end of its interval; default: as many "
        "as there are wrong labels.",
    )

    @property
    def needs_canaries(self) -> bool:
        """Always."""
        return True

    @property
    def name(self) -> str:
        """With the wished-for precision."""
        return "canary" if self.precision is None else f"canary_{self.precision:g}"

    def find(self, ranking: Ranking) -> BudgetEstimate:
        """round(Σ P), or the largest m whose precision is at least the one wished for, with 97.5 % confidence.

        Raises:
            BadConfig: the run has no canaries.
        """
        wrongness = ranking.wrongness
        if wrongness is None:
            raise BadConfig(
                where="option budget.kind canary",
                expected="a run with canaries",
                got="none",
                do="Set canaries.share above 0 and folds to 2 or more, or choose another budget.",
            )
        order = np.argsort(-ranking.suspicion, kind="stable")
        n = len(order)
        everyone = round(float(wrongness.detectable.sum()))
        cutoffs = np.unique(np.append(np.linspace(1, n, min(n, _CUTOFFS)).astype(np.int64), max(everyone, 1)))
        hits, again = _hits(wrongness, order, cutoffs)
        count = everyone
        if self.precision is not None:
            low = np.quantile(again / cutoffs[:, None], 0.025, axis=1)
            good = cutoffs[low >= self.precision]
            count = int(good.max()) if len(good) else 0
        total = _hits(wrongness, order, np.array([n]))[1][0]
        wrong = _estimate(wrongness.share, total / n)
        if not count:
            return BudgetEstimate(count=0, wrong=wrong)
        at = int(np.searchsorted(cutoffs, count))
        precision, recall = _rates(wrongness, count, hits[at], again[at], total)
        return BudgetEstimate(count=count, wrong=wrong, precision=precision, recall=recall)

    def restate(self, estimate: BudgetEstimate, ranking: Ranking, flagged: np.ndarray) -> BudgetEstimate:
        """Precision and recall of those flagged in the end; of none there is neither."""
        wrongness, m = ranking.wrongness, int(flagged.sum())
        if wrongness is None or m == estimate.count:
            return estimate
        precision = recall = None
        if m:
            hits, again = _hits(wrongness, np.flatnonzero(flagged), np.array([m]))
            total = _hits(wrongness, np.arange(len(flagged)), np.array([len(flagged)]))[1][0]
            precision, recall = _rates(wrongness, m, hits[0], again[0], total)
        return estimate.model_copy(update={"precision": precision, "recall": recall})


def _rates(
    wrongness: Wrongness, flagged: int, hits: float, again: np.ndarray, total: np.ndarray
) -> tuple[Estimate, Estimate]:
    """Precision and recall of so many flagged, by the hits among them and all wrong labels, in the replicates too."""
    everywhere = np.maximum(np.maximum(total, again), 1e-9)
    recall = _estimate(hits / max(float(wrongness.detectable.sum()), 1e-9), again / everywhere)
    return _estimate(hits / flagged, again / flagged), recall


def _hits(wrongness: Wrongness, order: np.ndarray, cutoffs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Wrong labels among the first m of ``order``, for each cutoff: expected, and in r replicates (cutoffs × r)."""
    cells = wrongness.cells()[order]
    chance = wrongness.detectable[order]
    which = np.searchsorted(cutoffs, np.arange(1, len(order) + 1))
    inside = which < len(cutoffs)
    kinds = 2 * wrongness.replicates.shape[1]

    def cumulate(values: np.ndarray) -> np.ndarray:
        flat = np.bincount(which[inside] * kinds + cells[inside], values[inside], len(cutoffs) * kinds)
        return np.cumsum(flat.reshape(len(cutoffs), kinds), axis=0)

    hits, variance = cumulate(chance).sum(1), cumulate(chance * (1 - chance)).sum(1)
    changes = wrongness.replicates.reshape(-1, kinds)
    expected = np.clip(hits[:, None] + cumulate(np.ones_like(chance)) @ changes.T, 0, cutoffs[:, None])
    # One draw for each replicate: which of the flagged really are wrong goes up and down together for all cutoffs.
    luck = np.random.default_rng([_SEED, 1]).standard_normal(len(changes))
    return hits, np.clip(expected + np.sqrt(variance)[:, None] * luck, 0, cutoffs[:, None])


def _estimate(value: float, replicates: np.ndarray) -> Estimate:
    low, high = np.quantile(replicates, [0.025, 0.975])
    return Estimate(value=float(value), low=float(min(low, value)), high=float(max(high, value)))
