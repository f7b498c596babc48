"""What memory a process has: what it does not need is given back, and too little is told as what it is."""

from __future__ import annotations

import ctypes
import errno
import sys

from tasks.core.errors import GradsieveError

# How torch, cuBLAS and DuckDB say it: their errors are no MemoryError.
_WORDS = ("can't allocate memory", "not enough memory", "CUBLAS_STATUS_ALLOC_FAILED", "Out of Memory Error")


class NoMemory(GradsieveError):
    """What a step holds does not fit into memory."""

    exit_code = 8


def is_out_of_memory(error: BaseException) -> bool:
    """Whether the machine, or a CUDA device, had no memory left."""
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or (isinstance(error, OSError) and error.errno == errno.ENOMEM)
        or any(words in str(error) for words in _WORDS)
    )


def no_memory(where: str, error: BaseException) -> NoMemory | None:
    """The error in words, and what there is to do; None of any other error.

    Args:
        where: the step, or the command.
        error: as a library raised it.
    """
    if isinstance(error, GradsieveError) or not is_out_of_memory(error):
        return None
    return NoMemory(
        where=where,
        expected="what it holds to fit into memory",
        got=(str(error).strip() or type(error).__name__).splitlines()[0],
        do="Give the process more memory; or let fewer tasks run side by side (--runner.workers 1), each with smaller "
        "batches (--memory-gib 1, --gradient.batch-size 64), or read fewer rows (--reader.limit 100000).",
    )


def give_back() -> None:
    """Give the operating system what allocators keep of freed memory, for a later step may need it for another thing.

    Arrow's pool and the C library keep most of what a step has freed: 1 kB for each of a run's samples.
    """
    if (arrow := sys.modules.get("pyarrow")) is not None:
        arrow.default_memory_pool().release_unused()
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # the GNU C library's; others have none
        if trim is not None:
            trim(0)
