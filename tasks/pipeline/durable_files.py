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
    prefix = f"{PARTIAL}{socket.gethostname()}-"
    # The lake, its folders, datasets and encoders below two of them: the levels at which anything is written aside.
    for pattern in (f"{prefix}*", f"*/{prefix}*", f"versions/*/{prefix}*", f"features/*/{prefix}*"):
        for path in lake.glob(pattern):
            # process-random, and nothing of another host whose name begins like ours; #1 is what obstore adds.
            process, _, rest = path.name.removeprefix(prefix).partition("-")
            ours = process.isdigit() and re.fullmatch(r"[0-9a-f]{8}(#\d+)?(-.*)?", rest)
            if ours and not _alive(int(process)):
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def sweep_old(folder: Path, before: datetime) -> list[Path]:
    """Remove what was written aside directly in a folder before that moment, by whichever machine; what is gone."""
    old = [path for path in sorted(folder.glob(f"{PARTIAL}*")) if _changed(path) < before.timestamp()]
    for path in old:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return old


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
