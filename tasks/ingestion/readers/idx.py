"""IDX, the format of MNIST: one file of arrays, one of labels, gzipped or not.

A file is a magic number (two zero bytes, a type code, the number of axes), the big-endian length of each axis, and the
values, row by row, big-endian. Source: Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits".
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
from pydantic import Field

from tasks.core.errors import BadInput
from tasks.dataset.payload import Payload
from tasks.ingestion.readers import Chunk, Reader, array_chunk, chunk_rows, existing_file

_TYPES = {0x08: "u1", 0x09: "i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


class Idx(Reader, kind="idx"):
    """MNIST, Fashion-MNIST and the like."""

    images: Path = Field(description="IDX file of inputs (n × H × W or n × features), .gz or plain.")
    labels: Path = Field(description="IDX file of n integer labels.")
    test_images: Path | None = Field(default=None, description="IDX file of test inputs.")
    test_labels: Path | None = Field(default=None, description="IDX file of test labels.")

    def open(self) -> tuple[Payload, Iterator[Chunk]]:
        """Open and compare the headers of all files; the values are read chunk by chunk."""
        sources: list[tuple[Path, Path, str | None]] = [(self.images, self.labels, None)]
        if (self.test_images is None) != (self.test_labels is None):
            raise BadInput(
                where="reader idx",
                expected="test_images and test_labels together",
                got="only one of them",
                do="Name both, or neither (a share is then set aside as test).",
            )
        if self.test_images is not None and self.test_labels is not None:
            sources = [(self.images, self.labels, "train"), (self.test_images, self.test_labels, "test")]
        shapes = []
        for images, labels, _ in sources:
            _, image_axes = _header(images)
            label_type, label_axes = _header(labels)
            if len(label_axes) != 1 or label_axes[0] != image_axes[0] or "f" in label_type:
                raise BadInput(
                    where=str(labels),
                    expected=f"{image_axes[0]:,} integer labels, one for each row of {images.name}",
                    got=f"an array of {' × '.join(map(str, label_axes))} ({label_type})",
                    do="Pair each inputs file with its own labels file.",
                )
            shapes.append(image_axes[1:])
        if len(set(shapes)) > 1:
            raise BadInput(
                where=str(self.test_images),
                expected=f"inputs of {' × '.join(map(str, shapes[0]))}, as in {self.images.name}",
                got=" × ".join(map(str, shapes[1])),
                do="Use the test file of the same dataset.",
            )
        axes = shapes[0]
        if 0 in axes:
            raise BadInput(
                where=str(self.images),
                expected="inputs of at least one value",
                got=" × ".join(map(str, axes)),
                do="Check that this is the inputs file.",
            )
        shape = (1, *axes) if len(axes) == 2 else axes or (1,)
        kinds = {_header(images)[0] for images, _, _ in sources}
        payload = Payload(kind="array", columns=("x",), shape=shape, dtype="uint8" if kinds == {"u1"} else "float32")
        return payload, self._chunks(sources, payload.dtype)

    def _chunks(self, sources: list[tuple[Path, Path, str | None]], dtype: str) -> Iterator[Chunk]:
        for images, labels, split in sources:
            size = chunk_rows(str(images), max(map(_width, map(_header, (images, labels)))))
            values, classes = _values(images, size), _values(labels, size)
            first = 0
            for x, y in zip(values, classes, strict=True):
                yield array_chunk(images.name, first, x, [str(label) for label in y.tolist()], split, dtype)
                first += len(x)

    def files(self) -> list[Path]:
        """The two or four files."""
        paths = [self.images, self.labels, self.test_images, self.test_labels]
        return [path.expanduser() for path in paths if path is not None]


def _open(path: Path) -> BinaryIO:
    path = existing_file(path, "an IDX file")
    with path.open("rb") as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
    return cast("BinaryIO", gzip.open(path, "rb") if is_gzip else path.open("rb"))


def _header(path: Path) -> tuple[str, tuple[int, ...]]:
    with _open(path) as file:
        return _read_header(path, file)


def _read_header(path: Path, file: BinaryIO) -> tuple[str, tuple[int, ...]]:
    magic = _read(path, file, 4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise BadInput(
            where=str(path),
            expected="an IDX file (it begins with two zero bytes, a type code and the number of axes)",
            got=f"the bytes {magic.hex(' ') or '(none)'}",
            do="Check that this is the inputs or labels file of an MNIST-like dataset, whole and not renamed.",
        )
    axes = _read(path, file, 4 * magic[3])
    if len(axes) < 4 * magic[3]:
        raise _short_file(path, "its header ends early")
    return _TYPES[magic[2]], struct.unpack(f">{magic[3]}I", axes)


def _width(header: tuple[str, tuple[int, ...]]) -> int:
    """Bytes of one row of a file with such a header."""
    kind, (_, *axes) = header
    return math.prod(axes) * np.dtype(kind).itemsize


def _values(path: Path, size: int) -> Iterator[np.ndarray]:
    with _open(path) as file:
        kind, (n, *axes) = header = _read_header(path, file)
        width = _width(header)
        for first in range(0, n, size):
            rows = min(size, n - first)
            data = _read(path, file, rows * width)
            if len(data) < rows * width:
                raise _short_file(path, f"{first + len(data) // max(width, 1):,} of the {n:,} rows its header declares")
            yield np.frombuffer(data, kind).reshape(rows, *axes)


def _read(path: Path, file: BinaryIO, size: int) -> bytes:
    try:
        return file.read(size)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise _short_file(path, f"a broken gzip stream ({error})") from error
    except (OverflowError, MemoryError) as error:
        raise _short_file(path, "a header that declares more than memory can hold") from error


def _short_file(path: Path, got: str) -> BadInput:
    return BadInput(where=str(path), expected="a whole IDX file", got=got, do="Fetch the file again.")
