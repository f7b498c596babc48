"""How a file is damaged, and which kinds of files a lake has."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Literal

from tests.benchmarks.torture.lake_state import separate

Damage = Literal["flip", "rot", "truncate", "delete", "swap", "older"]
DAMAGES: tuple[Damage, ...] = ("flip", "rot", "truncate", "delete", "swap", "older")
"""flip: one bit of this file. rot: the same of the blocks, so of all names that they have. truncate: its second half.
swap: with a sibling. older: it holds what the sibling before it holds."""

# What names are made of that differ from file to file of one kind.
_VARIABLE = (
    (re.compile(r"[0-9a-f]{16,}"), "HEX"),
    (re.compile(r"[A-Za-z]\w*-\d{8}T\d{6}-[0-9a-f]{4}"), "RUN"),
    (re.compile(r"v\d{4}"), "vN"),
    (re.compile(r"\d+(?=[.-])|(?<=-)\d+"), "N"),
)


def kind_of(name: str) -> str:
    """A file's place with all that is its own left out."""
    for pattern, word in _VARIABLE:
        name = pattern.sub(word, name)
    return name


def kinds_of(lake: Path) -> dict[str, list[Path]]:
    """The files of each kind, in the order of their names; what Prefect and the locks keep is left out."""
    kinds: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(path for path in lake.rglob("*") if path.is_file()):
        name = path.relative_to(lake).as_posix()
        if not name.startswith(("locks/", ".prefect", "cache/results")):
            kinds[kind_of(name)].append(path)
    return dict(kinds)


def damage(how: Damage, files: list[Path], place: int, lake: Path) -> bool:
    """Do it to one of the files of a kind; False where there is nothing to do it with. Sizes and times stay as far as
    the damage allows: who looks at these alone is not to find it by them."""
    path = files[place]
    status, data = path.stat(), path.read_bytes()
    others = [other for other in files if other.read_bytes() != data]
    before = [other for other in files[:place] if other.read_bytes() != data]
    match how:
        case "flip" | "rot" if data:
            harmed = bytearray(data)
            harmed[len(data) // 2] ^= 1
            if how == "rot":
                separate(path, lake)
            _write(path, bytes(harmed), in_place=how == "rot")
        case "truncate" if data:
            _write(path, data[: len(data) // 2])
        case "delete":
            path.unlink()
            return True
        case "swap" if others:
            other = others[-1].read_bytes()
            _write(others[-1], data)
            _write(path, other)
        case "older" if before:
            _write(path, before[-1].read_bytes())
        case _:
            return False
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    return True


def _write(path: Path, data: bytes, *, in_place: bool = False) -> None:
    if not in_place:
        path.unlink()
    path.write_bytes(data)
