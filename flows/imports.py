"""Imports without the collector: what they make stays, and to look at it again and again is a sixth of their time."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

# Of the three generations. Steps import PyTorch and SciPy when they run: by its own 700, 10 and 10 Python looks six
# times at all that these have made, for half a second of a run. The young are looked at as often as by later Pythons.
_THRESHOLDS = (2_000, 10, 100)


@contextmanager
def imports() -> Iterator[None]:
    """Collect nothing meanwhile, never look again at what is there afterwards, seldom at what has grown old since."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(*_THRESHOLDS)
        gc.enable()
