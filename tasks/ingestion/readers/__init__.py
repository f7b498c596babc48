"""Readers: each opens one kind of source and yields it in chunks. To add a format, add a file here."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tasks.core.errors import BadInput
from tasks.core.plugins import Choice, Component, Registry
from tasks.dataset.payload import Payload
from tasks.dataset.targets import TargetKind
from tasks.ingestion.files.plain_files import check_plain, is_dir, is_file
from tasks.ingestion.label_forms import NO_LABEL
from tasks.ingestion.tables.table_options import TableOptions
from tasks.pipeline.durable_files import sha256_of

CHUNK_ROWS, CHUNK_BYTES = 4096, 1 << 24
"""Rows a reader yields at a time, and fewer where so many weigh more than so many bytes: it holds a few chunks."""
LARGEST_ROW = 1 << 28
"""Bytes of one row; what is larger is no sample, and a file that says so is damaged as a rule."""


@dataclass(frozen=True)
class Reject:
    """A row that cannot be a sample, and why."""

    row: int | None
    reason: str
    detail: str


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of one source. Arrays have equal length; nulls are allowed and judged by ingest."""

    source: str
    rows: pa.Array
    """int64 row numbers in the source, from 0."""
    label: pa.Array
    """string"""
    payload: dict[str, pa.Array]
    split: pa.Array | str | None = None
    """A split for each row, one for all, or None: ingest then splits by content hash."""
    clean_label: pa.Array | None = None
    group: pa.Array | None = None
    source_id: pa.Array | None = None
    rejects: list[Reject] = field(default_factory=list)
    unused: dict[str, str] = field(default_factory=dict)
    """Columns of the source that no network reads, each with the reason."""
    notes: tuple[str, ...] = ()
    """What is to be told about the source: what was left out of it, or taken for granted."""


class Noise(BaseModel):
    """Label flips planted on the training split, to measure detection on data whose labels are trusted."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    share: float = Field(default=0.0, ge=0, lt=1, description="Share of training labels to flip; 0 plants nothing.")
    kind: Literal["symmetric", "asymmetric", "instance"] = Field(
        default="symmetric",
        description="symmetric: to any other class, uniformly. asymmetric: each class to the next one (pair flip). "
        "instance: to the class that the sample's own inputs suggest, at a rate of its own around the share.",
    )
    exact: bool = Field(
        default=False,
        description="Flip exactly round(share · n) of the n training labels, those with the smallest draws; otherwise "
        "each flips by itself and the share is what to expect.",
    )
    seed: int = Field(
        default=0,
        ge=-(2**63),
        lt=2**63,
        description="Seed of the flips; the same sample flips the same way in every run.",
    )


class Reader(Component):
    """Base of all readers."""

    suffixes: ClassVar[tuple[str, ...]] = ()
    """Suffixes of the files it reads, lower case, so that ``--reader.path`` alone tells the format."""
    packed: ClassVar[bool] = False
    """Whether it reads compressed files (tasks/ingestion/files/compression.py)."""

    kind: Any = None
    noise: Noise = Field(default=Noise(), description="Label noise to plant; for trials and benchmarks.")
    limit: int | None = Field(default=None, ge=1, description="Read at most this many rows of the training source.")
    test_share: float = Field(
        default=0.2, ge=0, lt=1, description="Share set aside as test by content hash, when the source names no split."
    )
    validation_share: float = Field(
        default=0.0, ge=0, lt=1, description="The same for a validation split; a search for a budget needs one."
    )

    @field_validator("noise", mode="before")
    @classmethod
    def _the_rest_of_the_noise_stays(cls, value: Any) -> Any:
        """Of a reader with noise of its own: another seed is not less noise."""
        return cls.model_fields["noise"].default.model_dump() | value if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _something_is_left_to_train_on(self) -> Self:
        if self.test_share + self.validation_share >= 1:
            raise ValueError(
                f"test_share and validation_share: expected less than 1 together, got {self.test_share:g} and "
                f"{self.validation_share:g}"
            )
        return self

    @property
    def says(self) -> tuple[TargetKind, str]:
        """What the labels say, and what stands between the labels of a set: classes, unless a reader can be told."""
        return "class", "|"

    @property
    def no_label(self) -> tuple[str, ...]:
        """Labels that mean that there is none."""
        return NO_LABEL

    @property
    def weight_column(self) -> str | None:
        """The samples' column that says how much a row counts; None where every row counts the same."""
        return None

    @property
    def has_held_out_files(self) -> bool:
        """Whether files of a split of their own follow the training rows."""
        return True

    @property
    def held_out(self) -> dict[str, float]:
        """The share of each split that is set aside where the source names none; the first ones' samples stay theirs
        whatever the later ones take."""
        return {"test": self.test_share, "validation": self.validation_share}

    def open(self) -> tuple[Payload | TableOptions, Iterator[Chunk]]:
        """Check the source and start to read it.

        What a network receives is known now, or of a table whose inputs are columns once all rows are.

        Raises:
            BadInput: the source is missing, unreadable or lacks what the options name.
        """
        raise TypeError(f"{type(self).__name__} must define open()")

    def glance(self, most_bytes: int, most_rows: int) -> Self:
        """With so low a limit that a look at its rows is short; by default the first ones stand for all.

        Args:
            most_bytes: of the files that a look may take.
            most_rows: that a look may take.
        """
        return self.model_copy(update={"limit": min(self.limit or most_rows, most_rows)})

    @classmethod
    def example(cls, table: pa.Table, folder: Path) -> Self:
        """A source of this format with the rows of ``table`` (numbers, and a column ``label``), for conformance tests.

        A format that needs no more brings its own; the others have theirs in the tests.
        """
        raise TypeError(f"{cls.__name__} has no example")

    def files(self) -> list[Path]:
        """The files whose content decides what is read."""
        raise TypeError(f"{type(self).__name__} must define files()")

    def file_name(self, path: Path) -> str:
        """What a file is called in the fingerprint."""
        return path.name

    def fingerprint(self) -> str:
        """Digest of the source files' names and bytes; a missing file is left for ``open`` to report."""
        digest = hashlib.sha256()
        for path in self.files():
            if is_file(path):
                about = path.stat()
                digest.update(f"{self.file_name(path)}:{_sha256_of(path, about.st_size, about.st_mtime_ns)}\n".encode())
        return digest.hexdigest()


@lru_cache(maxsize=4096)
def _sha256_of(path: Path, _size: int, _changed: int) -> str:
    """A run asks twice: to know what it has read already, and to say what it has published."""
    return sha256_of(path)


def chunk_rows(where: str, row_bytes: float) -> int:
    """How many rows of so many bytes make a chunk.

    Raises:
        BadInput: a single one is more than any chunk may be.
    """
    if row_bytes > LARGEST_ROW:
        raise BadInput(
            where=where,
            expected=f"rows of at most {LARGEST_ROW >> 20} MiB",
            got=f"rows of {row_bytes / 2**20:,.0f} MiB",
            do="Check the file: it may be damaged, or its rows may stand along another axis.",
        )
    return max(1, min(CHUNK_ROWS, int(CHUNK_BYTES // max(row_bytes, 1))))


READERS: Registry[Reader] = Registry(__name__, Reader)


class ReaderChoice(Choice[Reader], registry=READERS):
    """Where the samples come from."""

    beside: ClassVar[dict[str, str]] = {
        "path": "File or folder of the samples, as the worker's machine has it; digits has none.",
        "label": "Column of the labels, where the samples are rows of a table. Default: a column that is called label.",
    }

    kind: str = Field(default="digits", description="Format of the source.")


def existing_path(path: Path, what: str) -> Path:
    """``path`` itself when it is a file or a folder.

    Raises:
        BadInput: it does not exist, or is neither.
    """
    path = path.expanduser()
    check_plain(path, what)
    return path


def existing_file(path: Path, what: str) -> Path:
    """``path`` itself when it is a file.

    Raises:
        BadInput: it does not exist, or is a folder.
    """
    path = existing_path(path, what)
    if path.is_dir():
        raise BadInput(where=str(path), expected=what, got="a folder", do="Name the file in it.")
    return path


def array_chunk(source: str, first: int, x: np.ndarray, labels: list[str], split: str | None, dtype: str) -> Chunk:
    """Rows of a plain array as a chunk with the one payload column ``x``; rows that are not finite are rejected."""
    with np.errstate(over="ignore"):
        flat = np.ascontiguousarray(x.reshape(len(x), -1).astype(dtype, copy=False))
    finite = np.asarray(np.isfinite(flat).all(axis=1))
    rows = np.arange(first, first + len(x))
    width = flat.shape[1]
    return Chunk(
        source=source,
        rows=pa.array(rows[finite]),
        label=pa.array([label or None for label, good in zip(labels, finite, strict=True) if good], pa.string()),
        payload={"x": pa.FixedSizeListArray.from_arrays(pa.array(flat[finite].ravel()), width)},
        split=split,
        rejects=[Reject(int(row), "NaN or infinite", "a value that float32 cannot hold") for row in rows[~finite]],
    )


def files_below(path: Path | None) -> list[Path]:
    """The file itself, or every file below a folder in a fixed order; hidden files do not count."""
    if path is None:
        return []
    path = path.expanduser()
    if is_dir(path):
        return sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
    return [path]
