"""From scores to flags: budgets, guards, the search of a budget, review, drift."""
