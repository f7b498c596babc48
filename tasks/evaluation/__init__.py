"""Detectors and budgets against labels known to be wrong, and the paper's experiments."""
