"""Files that are whole or not there: written aside, flushed to the disk, renamed into place."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from tasks.core.errors import BadArtefact

PARTIAL = ".partial-"


def sha256_of(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """A hard link, or a copy on another file system or one without links."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def write_durably(path: Path, text: str) -> None:
    """Write a small text file aside, fsync it, and rename it over ``path``."""
    aside = path.with_name(f"{PARTIAL}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}-{path.name}")
    with aside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    fsync(path.parent)


def rename_file(aside: Path, final: Path) -> None:
    """Fsync a written file and rename it over ``final``."""
    fsync(aside)
    aside.replace(final)
    fsync(final.parent)


def rename_folder(aside: Path, final: Path) -> bool:
    """Fsync everything below ``aside`` and rename it to ``final``, which must not exist; False when it does."""
    for path in sorted(aside.rglob("*"), reverse=True):
        fsync(path)
    fsync(aside)
    try:
        aside.rename(final)
    except OSError:
        if final.exists():
            return False
        raise
    fsync(final.parent)
    return True


def fsync(path: Path) -> None:
    """Flush one file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def partial_folder(parent: Path) -> Iterator[Path]:
    """A folder beside its final place, named after this process, removed unless it was renamed away."""
    folder = parent / f"{PARTIAL}{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """A folder to write aside; where the block ends well it is ``final``, all of it at once.

    Raises:
        BadArtefact: ``final`` exists.
    """
    with partial_folder(final.parent) as aside:
        yield aside
        if not rename_folder(aside, final):
            raise BadArtefact(
                where=str(final), expected="a new folder", got="one that exists", do="Run again: ids are unique."
            )


def sweep(lake: Path) -> None:
    """Remove partial files and folders whose process, on this machine, is no longer alive."""
    for path in _partial(lake, f"{PARTIAL}{socket.gethostname()}-"):
        if _process_of(path) is not None and not _is_being_written(path):
            remove(path)


def unfinished(lake: Path, before: datetime) -> list[Path]:
    """Partial files and folders of whichever machine that nobody has written to since that moment."""
    return [
        path for path in _partial(lake, PARTIAL) if _changed(path) < before.timestamp() and not _is_being_written(path)
    ]


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it, if it is there."""
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _partial(lake: Path, prefix: str) -> Iterator[Path]:
    """What begins so in the lake, its folders, datasets and encoders below two of them: wherever things are written."""
    for pattern in (f"{prefix}*", f"*/{prefix}*", f"versions/*/{prefix}*", f"features/*/{prefix}*"):
        yield from sorted(lake.glob(pattern))


def _process_of(path: Path) -> int | None:
    """The process of this machine that wrote something aside; None: another machine's."""
    # process-random, and nothing of another host whose name begins like ours; #1 is what obstore adds.
    process, _, rest = path.name.removeprefix(f"{PARTIAL}{socket.gethostname()}-").partition("-")
    ours = process.isdigit() and re.fullmatch(r"[0-9a-f]{8}(#\d+)?(-.*)?", rest)
    return int(process) if ours else None


def _is_being_written(path: Path) -> bool:
    process = _process_of(path)
    return process is not None and _alive(process)


def _changed(path: Path) -> float:
    """When something was last written to a file, or to any in a folder; never, if it is gone."""
    try:
        return max(there.lstat().st_mtime for there in (path, *path.rglob("*")))
    except FileNotFoundError:
        return float("inf")


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
