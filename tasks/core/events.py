"""Names of the events that automations may wait for."""

DATA_CHANGED = "gradsieve.data.changed"
"""``gradsieve watch`` saw other data."""
DRIFT = "gradsieve.drift"
"""Samples that are new since the base are more, or less, suspect than those before them."""
VERDICT = "gradsieve.verdict"
"""``.helps``, ``.harms`` or ``.no-evidence``: a cleaning has been put to the test."""
