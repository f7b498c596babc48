"""Whether a final file still has the content it was written with: read once in a process, then known."""

from __future__ import annotations

import os
import uuid
from contextlib import suppress
from pathlib import Path
from threading import Lock

from tasks.core.errors import BadConfig
from tasks.pipeline.durable_files import sha256_of

SETTING = "GRADSIEVE_VERIFY"
"""``content`` (the default) reads every file once, at 1.4 GB/s, before it is used; ``size`` compares lengths alone."""

# (device, inode, size, time of change, digest): a file keeps them when it is renamed or linked to another name.
_Key = tuple[int, int, int, int, str]
_KNOWN: set[_Key] = set()
_LOCKS: dict[_Key, Lock] = {}
_GUARD = Lock()


def has_content(path: Path, sha256: str) -> bool:
    """Whether a file that is there has the digest; threads that ask for one file at once have it read once.

    Raises:
        BadConfig: the setting is none.
    """
    if not reads_content():
        return True
    key = _key(path, sha256)
    with _GUARD:
        lock = _LOCKS.setdefault(key, Lock())
    with lock:
        if key not in _KNOWN and sha256_of(path) == sha256:
            _KNOWN.add(key)
    return key in _KNOWN


def remember(path: Path, sha256: str) -> None:
    """A file whose digest was just computed need not be read again."""
    _KNOWN.add(_key(path, sha256))


def put_aside(folder: Path) -> None:
    """Give a damaged folder another name. It is not deleted: it may tell what has happened to the disk."""
    with suppress(FileNotFoundError):
        folder.rename(folder.with_name(f"{folder.name}.damaged-{uuid.uuid4().hex[:8]}"))


def _key(path: Path, sha256: str) -> _Key:
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, sha256


def reads_content() -> bool:
    """Whether files are read before they are used.

    Raises:
        BadConfig: the setting is none.
    """
    setting = os.environ.get(SETTING, "content")
    if setting not in ("content", "size"):
        raise BadConfig(
            where=f"variable {SETTING}", expected="content or size", got=setting, do=f"export {SETTING}=content"
        )
    return setting == "content"
