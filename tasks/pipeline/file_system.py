"""What a lake needs of its file system, tried in a few milliseconds: network and user-space ones may lack some of it.

Without it nothing would be said when it counts: two runs would both have made version 7, or a version would be gone
after a power failure that had been told to be there.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock, Timeout

from tasks.core.errors import BadConfig
from tasks.pipeline.durable_files import fsync, partial_folder

_KNOWN: set[tuple[int, Path]] = set()
# Of the disk, not of its file system.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO}


def check_file_system(folder: Path, lake: Path) -> None:
    """Try what is needed in a folder of its own below ``folder``; once in a process for each place.

    Args:
        folder: of the lake, or where it will be made.
        lake: as it was named.

    Raises:
        BadConfig: something is missing; all that is, is named.
        OSError: the disk is full, or nothing can be written there.
    """
    place = folder.stat().st_dev, folder
    if place in _KNOWN:
        return
    with partial_folder(folder) as own:
        missing = [need for need, try_out in _NEEDS.items() if not _holds(try_out, own)]
    if missing:
        raise BadConfig(
            where=f"lake {lake}",
            expected="a file system that keeps what a lake relies on",
            got=f"one without: {'; '.join(missing)}",
            do="Name another with --lake: on a local disk, or NFS 4 with locks. Versions may lie in a bucket, --store.",
        )
    _KNOWN.add(place)


def _holds(try_out: Callable[[Path], bool], own: Path) -> bool:
    try:
        return try_out(own)
    except (OSError, NotImplementedError) as error:
        if isinstance(error, OSError) and error.errno in _FULL:
            raise
        return False


def _created_once(own: Path) -> bool:
    """Whether of two that create a file the second one is told."""
    (own / "created").touch(exist_ok=False)
    return _is_refused(lambda: (own / "created").touch(exist_ok=False))


def _linked_once(own: Path) -> bool:
    """Whether a written file can be given a name that nobody has, and no other."""
    (own / "aside").write_text("new")
    os.link(own / "aside", own / "linked")
    return _is_refused(lambda: os.link(own / "aside", own / "linked")) and (own / "linked").read_text() == "new"


def _renamed_over(own: Path) -> bool:
    """Whether a new file takes the place of an old one."""
    (own / "old").write_text("old")
    (own / "new").write_text("new")
    (own / "new").replace(own / "old")
    return (own / "old").read_text() == "new" and not (own / "new").exists()


def _folder_kept(own: Path) -> bool:
    """Whether a whole folder is never renamed over another one."""
    for name in ("first", "second"):
        (own / name).mkdir()
        (own / name / "file").write_text(name)
    return _is_refused(lambda: (own / "second").rename(own / "first")) and (own / "first/file").read_text() == "first"


def _flushed(own: Path) -> bool:
    """Whether a folder can be flushed to the disk as a file can: only then its names are durable."""
    (own / "flushed").write_text("x")
    fsync(own / "flushed")
    fsync(own)
    return True


def _locked(own: Path) -> bool:
    """Whether a lock on a file keeps others out."""
    with FileLock(own / "lock", timeout=0):
        try:
            FileLock(own / "lock", timeout=0, is_singleton=False).acquire()
        except Timeout:
            return True
    return False


def _is_refused(act: Callable[[], object]) -> bool:
    try:
        act()
    except OSError as error:
        if error.errno in _FULL:
            raise
        return True
    return False


_NEEDS = {
    "files that one writer alone can create (O_EXCL)": _created_once,
    "hard links to names that are not taken (link)": _linked_once,
    "renaming a file over another (rename)": _renamed_over,
    "refusing to rename a folder over another": _folder_kept,
    "flushing a folder to the disk (fsync)": _flushed,
    "locks on files (flock)": _locked,
}
