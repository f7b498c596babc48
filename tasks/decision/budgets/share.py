"""A fixed share."""

from __future__ import annotations

from pydantic import Field

from tasks.decision.budgets import Budget, BudgetEstimate, Ranking


class Share(Budget, kind="share"):
    """The paper's budget: the same share k of every dataset."""

    share: float = Field(default=0.1, ge=0, lt=1, description="Share of the training samples to flag.")

    @property
    def name(self) -> str:
        """With its value."""
        return f"share_{self.share:g}"

    def find(self, ranking: Ranking) -> BudgetEstimate:
        """round(share · n)"""
        return BudgetEstimate(count=round(self.share * len(ranking.suspicion)))
