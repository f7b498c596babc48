"""Which reader a path is for, told by its suffix, or by the files that a folder holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from tasks.core.errors import BadConfig
from tasks.ingestion.files.compression import PACKED_SUFFIXES, inner_name
from tasks.ingestion.files.foreign_formats import way_of, way_of_folders
from tasks.ingestion.files.picture_files import PICTURES, holds_pictures, suffix_of
from tasks.ingestion.files.plain_files import is_dir, is_file
from tasks.ingestion.files.source_files import UNSEEN
from tasks.ingestion.readers import READERS
from tasks.pipeline.schemas import SPLIT_NAMES

# A table of this name says of Hugging Face's folders what their pictures are.
_METADATA = "metadata"
# Folders that hold pictures of all classes.
_NO_CLASSES = ("images", "imgs", "img", "photos", "pictures", "jpegimages")
# What Hugging Face's save_to_disk writes beside the data.
_SAVED = ("dataset_dict.json", "dataset_info.json")
# What tables with versions have in their folders.
_TABLES = {"_delta_log": "delta", "_versions": "lance", "metadata/*.metadata.json": "iceberg", "catalog.db": "iceberg"}
_READ = "a table, pictures or arrays in a format that a reader reads"
# A folder may hold millions of files; its first ones tell.
_LOOKED_AT = 10_000


def kind_of_source(path: Path) -> str:
    """The reader for a path.

    Raises:
        BadConfig: nothing tells, or several readers have an equal claim.
    """
    path = path.expanduser()
    if not is_dir(path):
        return _kind_of_file(path) or _refuse(path, _suffix(path) or "none", [path] if is_file(path) else [])
    if any((path / name).is_file() for name in _SAVED):
        return "huggingface"
    table = next((kind for pattern, kind in _TABLES.items() if any(path.glob(pattern))), None)
    if table is not None:
        return table
    files = _visible_files(path)
    pictures = [file for file in files if suffix_of(file.name) in PICTURES]
    # What is called as a picture beside it is about that picture.
    named = {picture.with_suffix("") for picture in pictures}
    tables = {file: kind for file in files if file.with_suffix("") not in named and (kind := _kind_of_file(file))}
    kinds = Counter(tables.values())
    if len(pictures) > len(tables):
        return _kind_of_tables([picture.relative_to(path) for picture in pictures], tables) or "image_folder"
    most = kinds.most_common(2)
    if not most and not pictures and (way := way_of_folders(path, files)) is not None:
        raise BadConfig(where=f"option reader.path {path}", expected=_READ, got=way[0], do=_with_kind(way[1]))
    if not most:
        if any(p.is_dir() and not p.name.startswith(UNSEEN) for p in path.iterdir()):
            return "image_folder"
        _refuse(path, ", ".join(sorted({_suffix(file) or file.name for file in files})[:8]) or "an empty folder", files)
    if len(most) == 2 and most[0][1] == most[1][1]:
        _refuse(path, "as many files of kind " + " as of kind ".join(sorted(kind for kind, _ in most)))
    return most[0][0]


def _kind_of_tables(pictures: list[Path], tables: dict[Path, str]) -> str | None:
    """The reader of the tables that say what pictures are, where their folders do not."""
    kinds = {kind for table, kind in tables.items() if table.stem == _METADATA}
    if not kinds and len({classes for picture in pictures if (classes := _class_folders(picture))}) > 1:
        return None
    kinds = kinds or set(tables.values())
    return kinds.pop() if len(kinds) == 1 else None


def _class_folders(picture: Path) -> tuple[str, ...]:
    """The folders of a picture that may say its class."""
    return tuple(part for part in picture.parts[:-1] if part.lower() not in (*SPLIT_NAMES, *_NO_CLASSES))


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
    if path.suffix.lower() == ".zip" and is_file(path) and holds_pictures(path):
        return "image_folder"
    is_packed = path.suffix.lower() in PACKED_SUFFIXES
    suffix = _suffix(path)
    kinds = ((kind, reader) for kind, reader in READERS.components.items() if suffix in reader.suffixes)
    return next((kind for kind, reader in kinds if reader.packed or not is_packed), None)


def _suffix(path: Path) -> str:
    return Path(inner_name(path)).suffix.lower()


def _with_kind(way: str) -> str:
    """What to do, also where a name misleads."""
    return way if "--reader.kind" in way else f"{way.removesuffix('.')}. Where the name misleads: --reader.kind."


def _refuse(path: Path, got: str, files: Sequence[Path] = ()) -> NoReturn:
    way = way_of(files)
    suffixes = [suffix for reader in READERS.components.values() for suffix in reader.suffixes]
    raise BadConfig(
        where=f"option reader.path {path}",
        expected=f"one of the suffixes {', '.join(suffixes)}; of text also packed ({', '.join(PACKED_SUFFIXES)})"
        if way is None
        else _READ,
        got=got if way is None else f"{got}: {way[0]}",
        do="Say what it is with --reader.kind." if way is None else _with_kind(way[1]),
    )
