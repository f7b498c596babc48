"""Cells of a column of pictures: their bytes, their bytes as text, or the path of a file beside the table."""

from __future__ import annotations

import base64
import binascii
import io
import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path, PurePath
from typing import IO, Any, NamedTuple

import numpy as np
import pyarrow as pa

from tasks.dataset import images
from tasks.dataset.payload import Payload
from tasks.ingestion.files.picture_files import PICTURES, suffix_of
from tasks.ingestion.files.source_files import split_of
from tasks.ingestion.tables.columns import RejectRows, is_text

_DATA_URI = re.compile(r"data:[^,]{0,100};base64,", re.IGNORECASE)
_WEB = re.compile(r"(?:https?|s3|gs)://", re.IGNORECASE)
_LONGEST_PATH = 1024
_DISK = re.compile(r"[A-Za-z]:[/\\]+")
# Folders of another machine's path that may be here as well.
_MOST_STEPS = 8
# Characters below which text is no picture: the smallest one there is has more.
_LEAST_BASE64 = 64
# Tables often name pictures by their ids.
_SUFFIXES_TO_TRY = (".jpg", ".jpeg", ".png")
_LOOKED_AT = 32
# Fields of a picture as Hugging Face stores it.
FIELDS = {"bytes", "path"}


class NoPicture(ValueError):
    """A cell that gives no picture."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


class Beside(NamedTuple):
    """Where the files lie that a table's paths name: its own folder, and those in it that commonly hold them.

    Plain strings: a table has many rows, and a path object of each step would cost more than the look at the disk.
    """

    root: str
    """Without links."""
    alias: str
    """The same as it was named."""
    folders: tuple[str, ...]

    @classmethod
    def of(cls, table: Path) -> Beside:
        """Of a table's file: ``images/`` beside it, a folder of its name, and of its split, ``train/`` if of none."""
        root, stem = os.path.realpath(table.parent), table.name.split(".")[0]
        names = (stem, split_of(PurePath(table.name)) or "train")
        folders = (root, f"{root}/images", *(f"{root}/{name}{end}" for name in names for end in ("", "_images")))
        return cls(root, os.path.normpath(table.parent.absolute()), folders)

    def locate(self, name: str) -> Path:
        """The file that a path names.

        Raises:
            NoPicture: there is none, or it lies elsewhere.
        """
        try:
            return self._located(name)
        except NoPicture:
            if "\\" not in name:
                raise
        # Of another system, where a file here is not really called so.
        return self._located(name.replace("\\", "/"))

    def _located(self, name: str) -> Path:
        # Before anything is looked up: nobody is told which files there are elsewhere.
        if self.is_foreign(name):
            return self._by_its_end(name)
        plain = os.path.normpath(name if name.startswith("/") else f"{self.root}/{name}")
        if not _is_below(plain, self.root) and not _is_below(plain, self.alias):
            raise self._outside(name)
        others = () if suffix_of(name) in PICTURES else _SUFFIXES_TO_TRY
        for folder in self.folders:
            for suffix in ("", *others):
                path = f"{name if name.startswith('/') else f'{folder}/{name}'}{suffix}"
                try:
                    real = os.path.realpath(path, strict=True)
                except OSError:
                    continue
                if not _is_below(real, self.root):
                    raise self._outside(name)
                if (found := Path(path)).is_file():
                    return found
        raise NoPicture("missing picture", f"no file {name} in the folder of the table, nor in images/ there")

    def is_foreign(self, name: str) -> bool:
        """Whether a path leads from the root of a disk to a place that is not below the table's folder."""
        plain = os.path.normpath(name)
        from_root = name.startswith("/") and not _is_below(plain, self.root) and not _is_below(plain, self.alias)
        return from_root or _DISK.match(name) is not None

    def _by_its_end(self, name: str) -> Path:
        """The file below the table's folder that has the longest end in common with a path of another machine.

        With the folder it lies in, where the path names one: train/1.png is not test/1.png.
        """
        parts = [part for part in re.split(r"[/\\]", _DISK.sub("", name)) if part not in ("", ".")]
        least = min(2, len(parts))
        ends = ("/".join(parts[first:]) for first in range(max(0, len(parts) - _MOST_STEPS), len(parts) - least + 1))
        for end in ends if ".." not in parts else ():
            with suppress(NoPicture):
                return self._located(end)
        raise self._outside(name)

    def _outside(self, name: str) -> NoPicture:
        return NoPicture("path of a picture elsewhere", f"{name} leads out of the folder of the table")


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder.rstrip(os.sep)}{os.sep}")


class Cells(NamedTuple):
    """A column of pictures, read."""

    data: pa.Array
    """The encoded pictures; null where there is none."""
    names: pa.Array
    """What the source calls them; null where it does not."""


def picture_in(value: Any, beside: Beside | None) -> bytes | Path | None:
    """The picture of a cell; None of an empty one.

    Args:
        value: bytes, a path, base64 with or without ``data:…``, or a mapping of bytes and path.
        beside: where paths lead; None where there is no folder.

    Raises:
        NoPicture: the cell names one that is not there, or holds something else.
    """
    value = _parsed(value)
    if isinstance(value, dict):
        inside = value.get("bytes")
        if isinstance(inside, str):
            return _from_base64(inside)
        value = inside or value.get("path")
    if isinstance(value, bytes):
        return value
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise NoPicture("undecodable image", f"neither bytes nor a path nor base64: {str(value)[:80]!r}")
    if _WEB.match(value):
        raise NoPicture("missing picture", f"a web address, and nothing is fetched: {value[:80]}")
    match = _DATA_URI.match(value)
    if match or len(value) > _LONGEST_PATH:
        return _from_base64(value[match.end() :] if match else value)
    try:
        if beside is None:
            raise NoPicture("missing picture", f"a path, and no folder that it could be in: {value[:80]}")
        return beside.locate(value)
    except (OSError, ValueError) as error:
        if len(value) >= _LEAST_BASE64 and suffix_of(value) not in PICTURES:
            return _from_base64(value)
        raise error if isinstance(error, NoPicture) else NoPicture("missing picture", str(error)) from error


def openers_of(column: pa.Array, beside: Beside | None) -> Iterator[Callable[[], IO[bytes]]]:
    """What opens each of some pictures of a column, spread over it; empty cells are passed over."""
    filled = column.drop_null()
    for index in images.spread(len(filled)):
        yield partial(_open, filled[index].as_py(), beside)


def _open(value: Any, beside: Beside | None) -> IO[bytes]:
    picture = picture_in(value, beside)
    return picture.open("rb") if isinstance(picture, Path) else io.BytesIO(picture or b"")


def as_pictures(column: pa.Array, payload: Payload, name: str, beside: Beside | None, reject: RejectRows) -> Cells:
    """The pictures of a column; rows with none that can be decoded are rejected."""
    data: list[bytes | None] = []
    names: list[str | None] = []
    for index, value in enumerate(column.to_pylist()):
        read: bytes | None = None
        reason, detail = "missing value", ""
        try:
            picture = picture_in(value, beside)
            read = picture.read_bytes() if isinstance(picture, Path) else picture
            if read is not None:
                reason = ""
                images.decode(read, payload.shape, resize=payload.resize)
        except (OSError, ValueError) as error:
            reason, detail = getattr(error, "reason", "undecodable image"), f": {error}"
            if not isinstance(error, NoPicture) and (file := name_in(value)) is not None:
                detail = f": {file}: {error}"
        if reason:
            reject(np.arange(len(column)) == index, reason, f"column {name}{detail}")
        data.append(read)
        names.append(name_in(value))
    return Cells(pa.array(data, pa.binary()), pa.array(names, pa.string()))


def holds_paths(column: pa.Array) -> bool:
    """Whether a column of pictures names their files, by its first cell that holds anything."""
    filled = column.drop_null() if is_text(column.type) else pa.array([])
    return len(filled) > 0 and name_in(filled[0].as_py()) is not None


def picture_columns(table: pa.RecordBatch, but: Sequence[str | None], beside: Beside | None) -> list[str]:
    """The columns that hold pictures by what they look like: bytes and path, or paths of files that are there."""
    return [
        name
        for name, column in zip(table.schema.names, table.columns, strict=True)
        if name not in but and _holds_pictures(column, beside)
    ]


def _holds_pictures(column: pa.Array, beside: Beside | None) -> bool:
    kind = column.type
    if pa.types.is_struct(kind):
        # Sounds have the same fields.
        return {field.name for field in kind} == FIELDS and any(_opens(value, beside) for value in _first(column))
    as_json = isinstance(kind, pa.BaseExtensionType) and is_text(kind.storage_type)
    if not as_json and not is_text(kind):
        return False
    values = _first(column)
    return bool(values) and all(_is_picture(value, beside) for value in values)


def _first(column: pa.Array) -> list[Any]:
    return [value for value in column.slice(0, 4 * _LOOKED_AT).to_pylist() if value][:_LOOKED_AT]


def _opens(value: Any, beside: Beside | None) -> bool:
    try:
        with _open(value, beside) as stream:
            images.header_of(stream)
    except (OSError, ValueError):
        return False
    return True


def _is_picture(value: str, beside: Beside | None) -> bool:
    parsed = _parsed(value)
    if isinstance(parsed, dict):
        return parsed.keys() == FIELDS
    if _DATA_URI.match(value):
        return value.lower().startswith("data:image/")
    if beside is None or len(value) > _LONGEST_PATH or suffix_of(value) not in PICTURES:
        return False
    try:
        return beside.locate(value).is_file()
    except (OSError, ValueError):
        return False


def _parsed(value: Any) -> Any:
    """A mapping out of its JSON; everything else as it is."""
    if not isinstance(value, str) or not value.startswith("{"):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value


def _from_base64(text: str) -> bytes:
    match = _DATA_URI.match(text)
    try:
        return base64.b64decode("".join(text[match.end() if match else 0 :].split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoPicture("undecodable image", f"neither a path nor base64: {text[:40]!r} …") from error


def name_in(value: Any) -> str | None:
    """What a source calls a picture: the path that it names."""
    value = _parsed(value)
    value = value.get("path") if isinstance(value, dict) else value
    is_path = isinstance(value, str) and len(value) <= _LONGEST_PATH and not _DATA_URI.match(value)
    return value.replace("\\", "/") if is_path and value else None
