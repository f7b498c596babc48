"""NumPy .npz archives: arrays ``x`` and ``y`` (and ``x_test``, ``y_test``), read row by row out of the zip."""

from __future__ import annotations

import math
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, ClassVar, Self

import numpy as np
from pydantic import Field

from tasks.core.errors import BadInput
from tasks.dataset.payload import Payload
from tasks.ingestion.readers import Chunk, Reader, array_chunk, chunk_rows, existing_file

# Names of the arrays of inputs and labels; those of the test arrays have test for train.
_USUAL = (
    *(("x_train", "y_train"), ("X_train", "y_train"), ("train_images", "train_labels"), ("train_x", "train_y")),
    *(("train_data", "train_labels"), ("X", "y"), ("X", "Y"), ("images", "labels"), ("data", "labels")),
    *(("data", "target"), ("features", "labels"), ("inputs", "labels"), ("embeddings", "labels")),
)
# Channels of a picture.
_CHANNELS = (1, 3, 4)
# What a damaged archive can do to zipfile and to NumPy's header parser.
_BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    SyntaxError,
    RuntimeError,
    LookupError,
    OverflowError,
    MemoryError,
)


class Npz(Reader, kind="npz"):
    """An archive written by ``np.savez``. Object arrays (pickles) are refused: data is never code."""

    suffixes: ClassVar[tuple[str, ...]] = (".npz",)
    path: Path = Field(description="The .npz file.")
    inputs: str = Field(default="x", description="Name of the array of inputs (n × …).")
    label: str = Field(default="y", description="Name of the array of n labels.")
    test_inputs: str = Field(default="x_test", description="Name of the array of test inputs; used when present.")
    test_label: str = Field(default="y_test", description="Name of the array of test labels.")
    channels_last: bool = Field(default=False, description="Inputs are n × H × W × C rather than n × C × H × W.")

    def _named(self, names: set[str]) -> Self:
        """With the names that Keras, MedMNIST and others give arrays, where no option and no default names them."""
        if {"inputs", "label"} & self.model_fields_set or self.inputs in names:
            return self
        for inputs, label in _USUAL:
            if {inputs, label} <= names:
                test = (inputs.replace("train", "test"), label.replace("train", "test"))
                options = ("test_inputs", "test_label")
                is_told = test == (inputs, label) or {*options} & self.model_fields_set
                held_out = {} if is_told else dict(zip(options, test, strict=True))
                return self.model_copy(update={"inputs": inputs, "label": label} | held_out)
        return self

    def open(self) -> tuple[Payload, Iterator[Chunk]]:
        """Compare the arrays' headers; the values are read chunk by chunk."""
        path = existing_file(self.path, "an .npz archive")
        try:
            with zipfile.ZipFile(path) as archive:
                names = {name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")}
        except _BROKEN as error:
            raise BadInput(where=str(path), expected="an .npz archive", got=str(error), do="Write it again.") from error
        return self._named(names)._open(path, names)

    def _open(self, path: Path, names: set[str]) -> tuple[Payload, Iterator[Chunk]]:
        pairs: list[tuple[str, str, str | None]] = [(self.inputs, self.label, None)]
        if self.test_inputs in names:
            pairs = [(self.inputs, self.label, "train"), (self.test_inputs, self.test_label, "test")]
        for name in (name for pair in pairs for name in pair[:2]):
            if name not in names:
                raise BadInput(
                    where=str(path),
                    expected=f"an array named {name!r}",
                    got=f"arrays {', '.join(sorted(names))}",
                    do="Name the arrays: --reader.inputs and --reader.label, --reader.test-inputs and "
                    "--reader.test-label.",
                )
        shape = self._check_pairs(path, pairs)
        types = set()
        for inputs, _, _ in pairs:
            with _member(path, inputs) as (_, dtype, _):
                types.add(dtype)
        kind = "uint8" if types == {np.dtype(np.uint8)} else "float32"
        notes = self._told(names - {name for pair in pairs for name in pair[:2]}, shape)
        chunks = (replace(chunk, notes=notes) for chunk in self._chunks(path, pairs, kind))
        return Payload(kind="array", columns=("x",), shape=shape, dtype=kind), chunks

    def _told(self, others: set[str], shape: tuple[int, ...]) -> tuple[str, ...]:
        """What there is to tell: arrays under other names than the default, those left out, and the axis of colours."""
        notes = []
        if (self.inputs, self.label) != ("x", "y"):
            notes.append(f"inputs are the array {self.inputs}, labels {self.label} (--reader.inputs, --reader.label)")
        if others:
            notes.append(f"left out the arrays {', '.join(sorted(others))}")
        if len(shape) == 3 and not self.channels_last and shape[2] in _CHANNELS and shape[0] not in _CHANNELS:
            notes.append(
                f"inputs are read as {shape[0]} channels of {shape[1]} × {shape[2]}: if the last axis is of colours, "
                "--reader.channels-last"
            )
        return tuple(notes)

    def _check_pairs(self, path: Path, pairs: list[tuple[str, str, str | None]]) -> tuple[int, ...]:
        shapes = set()
        for inputs, label, _ in pairs:
            with _member(path, inputs) as (axes, x_type, _), _member(path, label) as (label_axes, label_type, _):
                is_column = len(label_axes) == 2 and label_axes[1] == 1
                fit = len(axes) > 0 and min(axes[1:], default=1) > 0 and label_axes[: 2 - is_column] == axes[:1]
                if not fit or label_type.kind not in "iubU" or not label_type.itemsize or x_type.kind not in "iubf":
                    raise BadInput(
                        where=f"{path}, arrays {inputs} and {label}",
                        expected=f"numbers, and {axes[0] if axes else 0:,} labels that are integers or text",
                        got=f"{x_type} inputs of {axes} and {label_type} labels of {label_axes}",
                        do="Save one class label for each input: y.argmax(axis=1) of a column for each class, "
                        "y.astype(int) of whole-number floats.",
                    )
                shapes.add(axes[1:])
        if len(shapes) > 1:
            raise BadInput(
                where=str(path),
                expected="test inputs shaped like the training inputs",
                got=" and ".join(map(str, sorted(shapes))),
                do="Save arrays of one dataset together.",
            )
        shape = shapes.pop() or (1,)
        if len(shape) == 3 and self.channels_last:
            return (shape[2], *shape[:2])
        return (1, *shape) if len(shape) == 2 else shape

    def _chunks(self, path: Path, pairs: list[tuple[str, str, str | None]], dtype: str) -> Iterator[Chunk]:
        for inputs, label, split in pairs:
            first = 0
            size = chunk_rows(f"{path}/{inputs}", max(_width(path, name) for name in (inputs, label)))
            for x, y in zip(_rows(path, inputs, size), _rows(path, label, size), strict=True):
                if x.ndim == 4 and self.channels_last:
                    x = x.transpose(0, 3, 1, 2)
                _check_text(y, f"{path}/{label}", first)
                labels = [str(value) for value in y.ravel().tolist()]
                yield array_chunk(f"{path.name}/{inputs}", first, x, labels, split, dtype)
                first += len(x)

    def files(self) -> list[Path]:
        """The archive."""
        return [self.path.expanduser()]


def _check_text(labels: np.ndarray, where: str, first: int) -> None:
    """Refuse labels that are no Unicode: NumPy keeps any number as a letter.

    Raises:
        BadInput: one is none.
    """
    if labels.dtype.kind != "U":
        return
    letters = labels.astype(labels.dtype.newbyteorder("=")).view(np.uint32).reshape(len(labels), -1)
    wrong = ((letters >= 0xD800) & (letters < 0xE000)) | (letters > 0x10FFFF)
    if wrong.any():
        row, place = map(int, np.argwhere(wrong)[0])
        raise BadInput(
            where=f"{where}, row {first + row:,}",
            expected="labels of Unicode",
            got=f"the letter {letters[row, place]:#x}, which is none",
            do="Write the labels again as text.",
        )


@contextmanager
def _member(path: Path, name: str) -> Iterator[tuple[tuple[int, ...], np.dtype, IO[bytes]]]:
    """(axes, dtype, stream at the first value) of one array; the stream is row-major whatever the archive says."""
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(path))
            file = stack.enter_context(archive.open(f"{name}.npy"))
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            axes, fortran, dtype = read(file)
        except _BROKEN as error:
            raise BadInput(
                where=f"{path}/{name}",
                expected="a NumPy array",
                got=str(error) or "nothing",
                do="Write it with np.savez.",
            ) from error
        if min(axes, default=0) < 0:
            raise BadInput(
                where=f"{path}/{name}", expected="axes of 0 or more", got=str(axes), do="Write it with np.savez."
            )
        if dtype.hasobject or (fortran and len(axes) > 1):
            raise BadInput(
                where=f"{path}/{name}",
                expected="an array of numbers or text in C order",
                got="Python objects (a pickle)" if dtype.hasobject else "Fortran order",
                do="Save np.ascontiguousarray(array) with a plain dtype.",
            )
        yield axes, dtype, file


def _width(path: Path, name: str) -> int:
    """Bytes of one row of an array."""
    with _member(path, name) as (axes, dtype, _):
        return math.prod(axes[1:]) * dtype.itemsize


def _rows(path: Path, name: str, size: int) -> Iterator[np.ndarray]:
    with _member(path, name) as (axes, dtype, file):
        width = math.prod(axes[1:]) * dtype.itemsize
        for first in range(0, axes[0], size):
            rows = min(size, axes[0] - first)
            try:
                data = file.read(rows * width)
            except MemoryError:
                raise  # a few megabytes: the file is not what is wrong
            except _BROKEN as error:
                raise BadInput(
                    where=f"{path}/{name}", expected="a whole array", got=str(error) or "nothing", do="Write it again."
                ) from error
            if len(data) < rows * width:
                raise BadInput(
                    where=f"{path}/{name}",
                    expected=f"{axes[0]:,} rows",
                    got=f"{first + len(data) // max(width, 1):,}",
                    do="The archive is truncated; write it again.",
                )
            yield np.frombuffer(data, dtype).reshape(rows, *axes[1:])
