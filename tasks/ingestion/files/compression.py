"""Compressed text files: the suffix says how a file is packed, and what is inside is read as if it lay there plain."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import shlex
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from tasks.core.errors import BadInput
from tasks.ingestion.files.plain_files import is_file

_OPENERS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zst": lambda path: io.BufferedReader(pa.input_stream(str(path), compression="zstd")),
    ".lz4": lambda path: io.BufferedReader(pa.input_stream(str(path), compression="lz4")),
    ".br": lambda path: io.BufferedReader(pa.input_stream(str(path), compression="brotli")),
    ".zip": lambda path: _open_member(path),
}
PACKED_SUFFIXES = tuple(_OPENERS)

UNPACKING_ERRORS = (
    *(OSError, EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, pa.ArrowInvalid),
    NotImplementedError,  # zipfile, of a method that it does not know
)
"""What a file that is cut short, damaged, or packed by an unknown method raises while it is read."""

_ENCRYPTED = 0x1


def open_bytes(path: Path) -> IO[bytes]:
    """A file's content, unpacked as its suffix says.

    Raises:
        BadInput: a zip archive holds another number of files than one, or one behind a password.
    """
    opener = _OPENERS.get(path.suffix.lower())
    return path.open("rb") if opener is None else opener(path)


def inner_name(path: Path) -> str:
    """A file's name without what says how it is packed: ``a.csv`` of ``a.csv.gz``, a lone file's of a zip archive."""
    suffix = path.suffix.lower()
    if suffix not in _OPENERS:
        return path.name
    if suffix != ".zip" or Path(path.stem).suffix or not is_file(path):
        return path.stem
    try:
        with zipfile.ZipFile(path) as archive:
            members = _members(archive)
    except (OSError, zipfile.BadZipFile):
        return path.stem
    return Path(members[0].filename).name if len(members) == 1 else path.stem


def _open_member(path: Path) -> IO[bytes]:
    with zipfile.ZipFile(path) as archive:
        members = _members(archive)
        if len(members) != 1:
            names = ", ".join(member.filename for member in members[:8])
            raise BadInput(
                where=str(path),
                expected="a zip archive with one table in it",
                got=f"{len(members):,} files: {names}{' …' * (len(members) > 8)}" if members else "no file in it",
                do=f"Unpack it into a folder, and name that: unzip {shlex.quote(path.name)} -d "
                f"{shlex.quote(path.stem)}; --reader.path {shlex.quote(path.stem)}",
            )
        if members[0].flag_bits & _ENCRYPTED:
            raise BadInput(
                where=str(path), expected="an open archive", got="one behind a password", do="Unpack it yourself."
            )
        return archive.open(members[0])


def _members(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    """The files that are there to be read: macOS and others add hidden ones of their own."""
    return [
        member
        for member in archive.infolist()
        if not member.is_dir() and not any(part.startswith((".", "_")) for part in Path(member.filename).parts)
    ]
