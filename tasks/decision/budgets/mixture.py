"""Two populations in the suspicions."""

from __future__ import annotations

import numpy as np

from tasks.decision.budgets import Budget, BudgetEstimate, Estimate, Ranking

# Points the fit is made on, at most: quantiles, so that the order of samples plays no part.
_POINTS = 20_000
# Of the fit's start; from any other it comes to the same two Gaussians, but for the last digits.
_SEED = 0


class Mixture(Budget, kind="mixture"):
    """Two Gaussians on the suspicions; as many as the upper one is expected to have made (Arazo et al., ICML 2019)."""

    def find(self, ranking: Ranking) -> BudgetEstimate:
        """Σ P(upper | s), with their mean P as precision; 0 where all are the same, or most are upper."""
        chance = self._chances(np.sort(ranking.suspicion))
        if chance is None:
            return BudgetEstimate(count=0, note="the suspicions are all the same")
        count = round(float(chance.sum()))
        if 2 * count > len(chance):
            return BudgetEstimate(count=0, note="the upper of two populations is the larger one: no few stand out")
        return BudgetEstimate(count=count, precision=_mean(chance[len(chance) - count :]))

    def restate(self, estimate: BudgetEstimate, ranking: Ranking, flagged: np.ndarray) -> BudgetEstimate:
        """The mean of the P of those flagged in the end."""
        order = np.argsort(ranking.suspicion)
        chance = self._chances(ranking.suspicion[order])
        if chance is None or int(flagged.sum()) == estimate.count:
            return estimate
        return estimate.model_copy(update={"precision": _mean(chance[flagged[order]])})

    def _chances(self, suspicion: np.ndarray) -> np.ndarray | None:
        """P(upper | s) of suspicions that rise; None where they are all the same."""
        from sklearn.mixture import GaussianMixture

        n = len(suspicion)
        points = suspicion if n <= _POINTS else _quantiles(suspicion, (np.arange(_POINTS) + 0.5) / _POINTS)
        if n < 4 or np.ptp(points) == 0:
            return None
        spread = points.std()
        fit = GaussianMixture(2, random_state=_SEED, reg_covar=1e-4).fit((points[:, None] - points.mean()) / spread)
        upper = int(np.argmax(np.asarray(fit.means_)[:, 0]))
        chance = fit.predict_proba((suspicion[:, None] - points.mean()) / spread)[:, upper]
        # A wide lower Gaussian may claim the far end as well: nobody above a suspect is less so.
        return np.maximum.accumulate(chance)


def _quantiles(rising: np.ndarray, at: np.ndarray) -> np.ndarray:
    """What ``np.quantile`` gives, to the last bit, of values that rise: it would part them anew around each."""
    index = at * (len(rising) - 1)
    below = index.astype(np.int64)
    share, low, high = index - below, rising[below], rising[np.minimum(below + 1, len(rising) - 1)]
    # From the nearer end, as numpy does.
    return np.where(share < 0.5, low + (high - low) * share, high - (high - low) * (1 - share))


def _mean(chance: np.ndarray) -> Estimate | None:
    """The mean, with the interval [0, 1]: the error of the fit is unknown. None of no sample."""
    return Estimate(value=float(chance.mean()), low=0.0, high=1.0) if len(chance) else None
