"""Which reader a path is for, told by its suffix, or by the files that a folder holds."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import NoReturn

from tasks.core.errors import BadConfig
from tasks.ingestion.files.compression import PACKED_SUFFIXES, inner_name
from tasks.ingestion.files.source_files import UNSEEN
from tasks.ingestion.readers import READERS

_IMAGES = (".png", ".jpg", ".jpeg", ".gif", ".bmp", ".tif", ".tiff", ".webp", ".ppm", ".pgm")
# What Hugging Face's save_to_disk writes beside the data.
_SAVED = ("dataset_dict.json", "dataset_info.json")
# A folder may hold millions of files; its first ones tell.
_LOOKED_AT = 10_000


def kind_of_source(path: Path) -> str:
    """The reader for a path.

    Raises:
        BadConfig: nothing tells, or several readers have an equal claim.
    """
    path = path.expanduser()
    if not path.is_dir():
        return _kind_of_file(path) or _refuse(path, _suffix(path) or "none")
    if any((path / name).is_file() for name in _SAVED):
        return "huggingface"
    files = _visible_files(path)
    kinds = Counter(kind for file in files if (kind := _kind_of_file(file)))
    images = sum(file.suffix.lower() in _IMAGES for file in files)
    if images > sum(kinds.values()):
        return "image_folder"
    most = kinds.most_common(2)
    if not most:
        if any(p.is_dir() and not p.name.startswith(UNSEEN) for p in path.iterdir()):
            return "image_folder"
        _refuse(path, ", ".join(sorted({_suffix(file) or file.name for file in files})[:8]) or "an empty folder")
    if len(most) == 2 and most[0][1] == most[1][1]:
        _refuse(path, "as many files of kind " + " as of kind ".join(sorted(kind for kind, _ in most)))
    return most[0][0]


def _visible_files(root: Path) -> list[Path]:
    files: list[Path] = []
    for file in root.rglob("*"):
        if not any(part.startswith(UNSEEN) for part in file.relative_to(root).parts) and file.is_file():
            files.append(file)
        if len(files) == _LOOKED_AT:
            break
    return files


def _kind_of_file(path: Path) -> str | None:
    """The reader that claims a file's suffix, and unpacks it where it is packed."""
    is_packed = path.suffix.lower() in PACKED_SUFFIXES
    suffix = _suffix(path)
    kinds = ((kind, reader) for kind, reader in READERS.components.items() if suffix in reader.suffixes)
    return next((kind for kind, reader in kinds if reader.packed or not is_packed), None)


def _suffix(path: Path) -> str:
    return Path(inner_name(path)).suffix.lower()


def _refuse(path: Path, got: str) -> NoReturn:
    suffixes = [suffix for reader in READERS.components.values() for suffix in reader.suffixes]
    raise BadConfig(
        where=f"option reader.path {path}",
        expected=f"one of the suffixes {', '.join(suffixes)}; of text also packed ({', '.join(PACKED_SUFFIXES)})",
        got=got,
        do="Say what it is with --reader.kind.",
    )
