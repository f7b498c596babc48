"""Configurations of runs that take seconds, for tests that need a run and do not look at what it finds."""

# A comparison of a few seconds.
SMALL_COMPARISON = {
    "reader": {"kind": "digits", "options": {"limit": 250}}, "training": {"epochs": 1},
    "detectors": [{"kind": "l2"}, {"kind": "l1"}],
    "budgets": [{"kind": "share"}], "seeds": 1, "folds": 2, "canaries": {"share": 0.0},
}  # fmt: skip
