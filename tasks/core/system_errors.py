"""What the machine refuses in mid-run, in words: a disk that is full or read-only, memory that is used up."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from traceback import walk_tb

from tasks.core.errors import GradsieveError, NoDisk, cause_of
from tasks.core.memory import no_memory

_AGAIN = "What is finished is kept: run again to go on."
_ROOM = f"Make room there, or name another lake with --lake. {_AGAIN}"
_LEAVE = f"Mend its permissions or mount it to be written to, or name another lake with --lake. {_AGAIN}"
_REPAIR = f"The disk, or the way to it, fails: see the system's log. {_AGAIN}"
_DISK = {
    errno.ENOSPC: ("a disk with room on it", _ROOM),
    errno.EDQUOT: ("a disk with room on it", _ROOM),
    errno.EFBIG: ("a disk that takes files of this size", _ROOM),
    errno.EROFS: ("a disk that can be written to", _LEAVE),
    errno.EACCES: ("a file that may be read and written", _LEAVE),
    errno.EPERM: ("a file that may be read and written", _LEAVE),
    errno.EIO: ("a disk that reads and writes", _REPAIR),
    errno.ESTALE: ("a disk that reads and writes", _REPAIR),
    errno.ENXIO: ("a disk that reads and writes", _REPAIR),
}
# Libraries that are no Python pass on what the system said as a text of their own.
_TEXTS = {os.strerror(number).lower(): number for number in _DISK} | {
    "database or disk is full": errno.ENOSPC,
    "fsync failed": errno.EIO,
}
# Those that read and write the files of a run. What others call "permission denied" is a server's word as a rule.
_FOREIGN = ("obstore", "_duckdb", "duckdb", "sqlite3", "pyarrow", "torch", "safetensors")


def in_words(error: BaseException, where: str = "this command") -> GradsieveError | None:
    """An error of the machine as one that a person can act on; None of any other.

    Args:
        error: as it was raised; what it was raised from is looked at too.
        where: it was, for a message that names no file.
    """
    for cause in _causes(error):
        if isinstance(cause, GradsieveError):
            return None
        number = _number_of(cause)
        if number is not None:
            expected, do = _DISK[number]
            return NoDisk(where=_where(cause), expected=expected, got=os.strerror(number).lower(), do=do)
        if (told := no_memory(where, cause)) is not None:
            return told
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from, nearest first.

    What was merely being handled is no cause: a bug in an ``except`` block is told as a bug.
    """
    seen: set[int] = set()
    at: BaseException | None = error
    while at is not None and id(at) not in seen:
        seen.add(id(at))
        yield at
        at = at.__cause__


def _number_of(error: BaseException) -> int | None:
    """The system's number of what the disk refused."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno if error.errno in _DISK else None
    text = str(error).lower()
    return next((number for words, number in _TEXTS.items() if words in text), None) if _is_foreign(error) else None


def _is_foreign(error: BaseException) -> bool:
    """Whether it comes from a library that passes on the system's words; Python's own errors have a number.

    Arrow raises Python's OSError, at times without one, and torch its RuntimeError.
    """
    if type(error) is RuntimeError:
        frames = [frame.f_globals.get("__name__", "") for frame, _ in walk_tb(error.__traceback__)]
        return bool(frames) and _package(frames[-1]) == "torch"
    return type(error) is OSError or _package(type(error).__module__) in _FOREIGN


def _package(module: str) -> str:
    return module.partition(".")[0]


def _where(error: BaseException) -> str:
    name = error.filename if isinstance(error, OSError) else None
    return str(name) if name is not None else f"a file of this run ({cause_of(error)})"
