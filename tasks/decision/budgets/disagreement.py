"""As many as the held-out networks disagree with."""

from __future__ import annotations

from tasks.decision.budgets import Budget, BudgetEstimate, Ranking


class Disagreement(Budget, kind="disagreement"):
    """The number of samples whose label is not what the held-out network predicts."""

    def find(self, ranking: Ranking) -> BudgetEstimate:
        """#{argmax p ≠ y}: too many by the network's own errors, too few by the noise it has learned."""
        return BudgetEstimate(count=int((ranking.predicted != ranking.labels).sum()))
