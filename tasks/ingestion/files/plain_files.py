"""What a source is before anything of it is read: a file or a folder, with a name that is text, of so many columns.

A pipe or a socket would be waited for without end, a device gives bytes without end, and a name that is no Unicode can
stand in no table.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from tasks.core.errors import BadInput

NO_FILE = "a link that leads nowhere, a pipe, a socket or a device"
"""Why an entry of a folder is not read."""

_MOST_COLUMNS = 1 << 16
_KINDS = {
    stat.S_IFIFO: "a pipe, which is read once",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def is_file(path: Path) -> bool:
    """Whether a path, of whatever length, leads to a file."""
    return os.path.isfile(path)  # noqa: PTH113  Path's own raises where a name is too long


def is_dir(path: Path) -> bool:
    """Whether a path, of whatever length, leads to a folder."""
    return os.path.isdir(path)  # noqa: PTH112


def check_plain(path: Path, what: str) -> None:
    """Refuse what is neither a file nor a folder.

    Args:
        path: of a source.
        what: is expected there.

    Raises:
        BadInput: it is something else, or nothing, or has no name that could be written down.
    """
    check_names([str(path)], what)
    try:
        about = path.stat()
    except (OSError, ValueError) as error:
        raise BadInput(
            where=_short(path),
            expected=what,
            got=_absence(path, error),
            do="Check the path; relative paths are taken from the working directory.",
        ) from error
    if kind := _KINDS.get(stat.S_IFMT(about.st_mode)):
        raise BadInput(
            where=str(path),
            expected=what,
            got=kind,
            do="Write what it gives into a file, and name that: --reader.path FILE.",
        )


def check_width(columns: int, where: str) -> None:
    """Refuse a table with more columns than can be counted, described and shown one by one.

    Raises:
        BadInput: it has.
    """
    if columns > _MOST_COLUMNS:
        raise BadInput(
            where=where,
            expected=f"at most {_MOST_COLUMNS:,} columns",
            got=f"{columns:,}",
            do="Write numbers that belong together as one column of lists, in Parquet, Arrow or JSON.",
        )


def check_names(names: Iterable[str], where: str) -> None:
    """Refuse names of files that are no Unicode: samples, manifests and pages say where a row comes from.

    Args:
        names: of files, as Python has them.
        where: they are.

    Raises:
        BadInput: one is none.
    """
    for name in names:
        try:
            name.encode()
        except UnicodeEncodeError as error:
            raise BadInput(
                where=where,
                expected="names of files and folders in UTF-8",
                got=repr(os.fsencode(name)),
                do="Rename it; convmv -f latin1 -t utf8 -r --notest FOLDER renames all of a folder.",
            ) from error


def _absence(path: Path, error: OSError | ValueError) -> str:
    """What stands in the way, and of a path that is not there what lies beside it."""
    if isinstance(error, ValueError):
        return f"no path ({error})"
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        return (error.strerror or str(error)).lower()
    near = path.parent if path.parent.is_dir() else None
    inside = ", ".join(sorted(p.name for p in near.iterdir())[:8]) if near else ""
    return "no such file or folder" + (f" (its folder holds: {inside})" if inside else "")


def _short(path: Path) -> str:
    """A path that a terminal has room for."""
    text = str(path)
    return text if len(text) <= 1000 else f"{text[:200]} … of {len(text):,} letters"
