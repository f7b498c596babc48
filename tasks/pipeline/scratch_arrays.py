"""Arrays that may be larger than the memory of a run."""

from __future__ import annotations

import errno
import os
import tempfile
from math import prod
from pathlib import Path

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

    Raises:
        OSError: the disk has no room for it.
    """
    size = prod(shape) * np.dtype(dtype).itemsize
    if size <= share * run.memory:
        return np.empty(shape, dtype)
    folder = run.lake / "cache"
    folder.mkdir(exist_ok=True)
    # Unlinked at once: the space is freed when the array is dropped, even by a kill.
    with tempfile.TemporaryFile(dir=folder) as scratch:
        _reserve(scratch.fileno(), size, folder)
        return np.memmap(scratch, dtype=dtype, mode="r+", shape=shape)


def _reserve(file: int, size: int, folder: Path) -> None:
    """Let an open file have its room now: a page that finds none later ends the process by a signal, without a word."""
    try:
        os.posix_fallocate(file, 0, size)
    except (AttributeError, OSError) as error:  # no such call on macOS; not every file system has it
        if isinstance(error, OSError) and error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
            raise OSError(error.errno, error.strerror, str(folder)) from error
        os.ftruncate(file, size)
