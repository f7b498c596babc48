"""All above a fixed suspicion."""

from __future__ import annotations

from pydantic import Field

from tasks.decision.budgets import Budget, BudgetEstimate, Ranking


class Threshold(Budget, kind="threshold"):
    """Every sample more suspect than a value, in the deciding detector's own units."""

    value: float = Field(default=0.0, description="Suspicion above which a sample is flagged.")

    @property
    def name(self) -> str:
        """With its value."""
        return f"threshold_{self.value:g}"

    def find(self, ranking: Ranking) -> BudgetEstimate:
        """#{s > value}"""
        return BudgetEstimate(count=int((ranking.suspicion > self.value).sum()))
