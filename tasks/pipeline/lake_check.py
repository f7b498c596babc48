"""Whether a lake can be written to, asked before anything is begun."""

from __future__ import annotations

import os
from pathlib import Path
from tempfile import TemporaryFile

from tasks.core.errors import BadConfig, GradsieveError
from tasks.core.system_errors import in_words
from tasks.pipeline.file_system import check_file_system

# A disk with less room than this is as good as full.
_ROOM_BYTES = 1 << 20


def check_lake(lake: Path) -> None:
    """Look whether a lake can be made and written to, without making it: by a file that has no name.

    Raises:
        BadConfig: it cannot, for there is something else, or its file system lacks what a lake needs.
        NoDisk: it cannot, for the disk is full, read-only or closed.
    """
    folder = lake.expanduser().resolve()
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir():
        raise unusable(lake, f"a file ({folder})")
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(_ROOM_BYTES))
            os.fsync(file.fileno())
        check_file_system(folder, lake)
    except OSError as error:
        raise refusal(lake, folder, error) from error


def refusal(lake: Path, folder: Path | str, error: OSError) -> GradsieveError:
    """What is said of a lake for which the system refused something."""
    told = unusable(lake, f"{(error.strerror or str(error)).lower()} ({folder})")
    by_disk = in_words(error)
    return (
        told if by_disk is None else type(by_disk)(where=told.where, expected=told.expected, got=told.got, do=told.do)
    )


def unusable(lake: Path, got: str) -> BadConfig:
    """What is said of a lake that cannot be written to."""
    return BadConfig(
        where=f"lake {lake}",
        expected="a folder that can be made and written to",
        got=got,
        do="Name another with --lake, or mend its permissions or make room.",
    )
