"""The pictures of a folder or of a zip archive, by the names of their files, and what lies beside them.

Links to folders are followed once: neither a circle of them nor a second way to the same folder gives a picture twice.
"""

from __future__ import annotations

import io
import os
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO

from tasks.core.errors import BadInput
from tasks.ingestion.files.compression import UNPACKING_ERRORS
from tasks.ingestion.files.plain_files import NO_FILE, check_names

PICTURES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".gif", ".bmp", ".dib", ".tif", ".tiff", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".heic", ".heif", ".hif", ".avif", ".jp2", ".ico", ".tga", ".pcx", ".dds"),
)
"""What the names of picture files end with, in lower case."""

# Cameras name pictures _MG_0001.JPG: a name that begins with _ is none to be hidden here.
_HIDDEN = (".", "__MACOSX", "~$")
_ENCRYPTED = 0x1
_LARGEST_MEMBER = 1 << 30
HIDDEN = "hidden"
NO_PICTURE = "no picture by their suffixes"
LINKED_TWICE = "links to folders that are read already"
NAMED_TWICE = "of a name that comes again in the archive, where the last one counts"


@dataclass(frozen=True)
class PictureFiles:
    """The pictures of one source."""

    root: Path
    names: tuple[str, ...]
    """Relative to the root, with / between, in a fixed order."""
    left_out: Mapping[str, tuple[str, ...]]
    """Names of what is not read, by the reason."""

    def open(self, name: str) -> IO[bytes]:
        """A picture, from its beginning."""
        return (self.root / name).open("rb")

    def size_of(self, name: str) -> int:
        """Bytes of a picture's file."""
        return (self.root / name).stat().st_size


@dataclass(frozen=True)
class ZippedPictures(PictureFiles):
    """The same of a zip archive, of which nothing is unpacked."""

    members: Mapping[str, zipfile.ZipInfo]
    """By their names, which are not always as the archive writes them."""

    @cached_property
    def archive(self) -> zipfile.ZipFile:
        """It stays open as long as somebody reads it."""
        return zipfile.ZipFile(self.root)

    def open(self, name: str) -> IO[bytes]:
        """A picture, unpacked in memory.

        Raises:
            OSError: it is damaged, or too large for a picture.
        """
        if self.members[name].file_size > _LARGEST_MEMBER:
            raise OSError(f"more than {_LARGEST_MEMBER:,} bytes unpacked")
        try:
            return io.BytesIO(self.archive.read(self.members[name]))
        except UNPACKING_ERRORS as error:
            raise OSError(str(error)) from error

    def size_of(self, name: str) -> int:
        """Bytes of a picture's file, unpacked."""
        return self.members[name].file_size


def pictures_of(root: Path) -> PictureFiles:
    """The pictures below a folder, or in a zip archive.

    Raises:
        BadInput: the archive is none, or behind a password.
    """
    if root.is_dir():
        twice: list[str] = []
        odd: list[str] = []
        names = [*_walk(root, twice, odd)]
        check_names(names, str(root))
        pictures, left_out = _sorted_out(names, LINKED_TWICE, twice)
        return PictureFiles(root, pictures, left_out | {NO_FILE: tuple(odd)})
    members, earlier = _members(root)
    return ZippedPictures(root, *_sorted_out(members, NAMED_TWICE, earlier), members)


def holds_pictures(archive: Path) -> bool:
    """Whether most of the files in a zip archive are pictures."""
    try:
        names, _ = _members(archive)
    except BadInput:
        return False
    visible = [name for name in names if not _is_hidden(name)]
    return 2 * sum(suffix_of(name) in PICTURES for name in visible) > len(visible)


def suffix_of(name: str) -> str:
    """A file's suffix, in lower case."""
    stem, _, suffix = name.rpartition("/")[2].rpartition(".")
    return f".{suffix.lower()}" if stem else ""


def _is_hidden(name: str) -> bool:
    return any(part.startswith(_HIDDEN) for part in name.split("/"))


def _sorted_out(
    names: Iterable[str], reason: str, twice: Iterable[str]
) -> tuple[tuple[str, ...], dict[str, tuple[str, ...]]]:
    """The names of pictures, and those of other files by the reason why they are none.

    Names without a suffix are of pictures where no name has a picture's. Those that come ``twice`` are left out once,
    for that ``reason``.
    """
    names = sorted(names)
    visible = [name for name in names if not _is_hidden(name)]
    suffixes = PICTURES if any(suffix_of(name) in PICTURES for name in visible) else ("",)
    pictures = tuple(name for name in visible if suffix_of(name) in suffixes)
    left_out = {
        HIDDEN: tuple(name for name in names if _is_hidden(name)),
        NO_PICTURE: tuple(name for name in visible if suffix_of(name) not in suffixes),
        reason: tuple(sorted(twice)),
    }
    return pictures, left_out


def _walk(root: Path, twice: list[str], odd: list[str]) -> Iterator[str]:
    """Every file below a folder; folders that are met once more go into ``twice``, what is no file into ``odd``."""
    start = os.path.realpath(root)
    folders, links, seen = [""], [], set()
    while folders or links:
        # Links come last: what lies within the root itself is known by its own name.
        folder = folders.pop() if folders else links.pop(0)
        real = os.path.realpath(root / folder)
        if real in seen or (real != start and start.startswith(real.rstrip(os.sep) + os.sep)):
            twice.append(folder)
            continue
        seen.add(real)
        with os.scandir(root / folder) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = f"{folder}/{entry.name}" if folder else entry.name
                if entry.is_dir():
                    (links if entry.is_symlink() else folders).append(name)
                elif entry.is_file():
                    yield name
                else:
                    odd.append(name)


def _members(archive: Path) -> tuple[dict[str, zipfile.ZipInfo], list[str]]:
    """The files in an archive by their names, and the names of those that a later one of the same name replaces."""
    try:
        with zipfile.ZipFile(archive) as opened:
            members = [member for member in opened.infolist() if not member.is_dir()]
    except (OSError, zipfile.BadZipFile) as error:
        raise BadInput(
            where=str(archive),
            expected="a folder, or a zip archive, of pictures",
            got=str(error),
            do="Fetch or write the file again.",
        ) from error
    if any(member.flag_bits & _ENCRYPTED for member in members):
        raise BadInput(
            where=str(archive), expected="an open archive", got="one behind a password", do="Unpack it yourself."
        )
    named = [(_plain(member.filename), member) for member in members]
    times = Counter(name for name, _ in named if name)
    return {name: member for name, member in named if name}, [*(times - Counter(times.keys())).elements()]


def _plain(member: str) -> str:
    r"""A member's name relative to the root, with / between; nothing of a folder's.

    Some programs write \ between, as on Windows, and some the path from the root of a disk.
    """
    name = member.replace("\\", "/")
    return "" if name.endswith("/") else "/".join(part for part in name.split("/") if part not in ("", "."))
