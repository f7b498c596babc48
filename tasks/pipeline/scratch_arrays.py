"""Arrays that may be larger than the memory of a run."""

from __future__ import annotations

import tempfile
from math import prod

import numpy as np

from tasks.pipeline.artefacts import Run


def allocate(run: Run, shape: tuple[int, ...], dtype: np.dtype | type, share: float = 1.0) -> np.ndarray:
    """An array that is to be filled.

    What is larger than ``share`` of the run's memory lies in a scratch file that the operating system pages in and out.

    Args:
        run: whose memory, and whose lake.
        shape: of the array.
        dtype: of its values.
        share: of the memory, of an array that is one of several.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if size <= share * run.memory:
        return np.empty(shape, dtype)
    folder = run.lake / "cache"
    folder.mkdir(exist_ok=True)
    # Unlinked at once: the space is freed when the array is dropped, even by a kill.
    with tempfile.TemporaryFile(dir=folder) as scratch:
        scratch.truncate(size)
        return np.memmap(scratch, dtype=dtype, mode="r+", shape=shape)
