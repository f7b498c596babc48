"""A folder of image files whose class is the name of the folder they lie in, or stands in their own names."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Self

import pyarrow as pa
from pydantic import Field, field_validator

from tasks.core.errors import BadInput
from tasks.dataset import images
from tasks.dataset.payload import Payload, picture_payload
from tasks.ingestion.files.annotations import refuse_annotations
from tasks.ingestion.files.picture_files import NO_PICTURE, PictureFiles, pictures_of, suffix_of
from tasks.ingestion.files.picture_layout import Layout, Picture, layout_of
from tasks.ingestion.files.plain_files import is_dir
from tasks.ingestion.files.source_files import left_out_notes
from tasks.ingestion.readers import Chunk, Reader, Reject, existing_path
from tasks.ingestion.readers.picture_options import Channels, ImageSize

# Files held at once, and their bytes: pictures are read whole, and a camera's have 25 MB.
_FILES, _BYTES = 256, 1 << 28
_TABLES = (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx")


class ImageFolder(Reader, kind="image_folder"):
    """``root/class/file`` or ``root/train/class/file`` with ``root/test/class/file``; a folder, or a zip of one."""

    path: Path = Field(description="The root folder, or a zip archive of one.")
    image_size: ImageSize = None
    channels: Channels = None
    splits: list[str] | None = Field(
        default=None,
        description="Splits to read, others are left out. Default: all of the usual names (train, val, test …). Of "
        "folders: [] where none is a split, and folders called train or test are classes.",
    )
    class_pattern: str | None = Field(
        default=None,
        description="Regular expression that finds the class in the path of a file below the root, or below its split, "
        r"in place of the folder: '(?P<label>[a-z]+)\.' for cat.0.jpg.",
    )

    @field_validator("class_pattern")
    @classmethod
    def _a_pattern_with_a_group(cls, value: str | None) -> str | None:
        if value is None:
            return value
        try:
            groups = re.compile(value).groups
        except re.error as error:
            raise ValueError(f"expected a regular expression, got {value!r} ({error})") from error
        if not groups:
            raise ValueError(rf"expected a group that is the label, as in '(?P<label>[a-z]+)\.', got {value!r}")
        return value

    def open(self) -> tuple[Payload, Iterator[Chunk]]:
        """List the files and look at some for their size; all are decoded as they are read."""
        files = self._files()
        layout = self._layout(files)
        some = (layout.pictures[index].name for index in images.spread(len(layout.pictures)))
        opened = (partial(files.open, name) for name in some)
        look = images.look_at(opened, self.image_size, self.channels, str(self.path))
        payload = picture_payload("image", look)
        notes = (*left_out_notes(files.left_out, files.root), *layout.notes, *look.notes)
        return payload, self._chunks(files, self._limited(layout), payload, notes)

    def glance(self, most_bytes: int, most_rows: int) -> Self:
        """With as many pictures as so many bytes are, spread over all folders: the first ones are of one class."""
        files = self._files()
        size = sum(map(files.size_of, files.names))
        most = min(most_rows, max(2, most_bytes // 2 * len(files.names) // max(1, size)))
        return self.model_copy(update={"limit": min(self.limit or most, most)})

    def _files(self) -> PictureFiles:
        files = pictures_of(existing_path(self.path, "a folder of class folders, or a zip archive of one"))
        refuse_annotations(files.root, files.left_out[NO_PICTURE])
        return files

    def _layout(self, files: PictureFiles) -> Layout:
        layout = layout_of(files.names, files.root, self.splits, self.class_pattern)
        labels = {picture.label for picture in layout.pictures}
        if len(labels) == 1 and self.class_pattern is None:
            tables = [name for name in files.left_out[NO_PICTURE] if suffix_of(name) in _TABLES]
            raise _one_folder(files.root, next(iter(labels)), tables)
        return layout

    def _limited(self, layout: Layout) -> Sequence[Picture]:
        """At most as many training pictures as the limit says, of all folders."""
        held_out = [picture for picture in layout.pictures if picture.split in ("validation", "test")]
        training = layout.pictures[: len(layout.pictures) - len(held_out)]
        return [*(training[i] for i in images.spread(len(training), self.limit or len(training))), *held_out]

    @staticmethod
    def _chunks(
        files: PictureFiles, pictures: Sequence[Picture], payload: Payload, notes: tuple[str, ...]
    ) -> Iterator[Chunk]:
        row = 0
        for split, group in groupby(pictures, key=lambda picture: picture.split):
            for block in _blocks(files, group):
                yield _chunk(files, block, row, split, payload, notes)
                row += len(block)

    def files(self) -> list[Path]:
        """The pictures, or the archive."""
        path = self.path.expanduser()
        return [path / name for name in pictures_of(path).names] if is_dir(path) else [path]

    def file_name(self, path: Path) -> str:
        """Within the root: the folder is the label."""
        root = self.path.expanduser()
        return path.relative_to(root).as_posix() if root in path.parents else path.name


def _blocks(files: PictureFiles, pictures: Iterable[Picture]) -> Iterator[list[Picture]]:
    block: list[Picture] = []
    held = 0
    for picture in pictures:
        size = files.size_of(picture.name)
        if block and (len(block) == _FILES or held + size > _BYTES):
            yield block
            block, held = [], 0
        block.append(picture)
        held += size
    yield block


def _chunk(
    files: PictureFiles, block: list[Picture], first: int, split: str | None, payload: Payload, notes: tuple[str, ...]
) -> Chunk:
    rows, kept, data, rejects = [], [], [], []
    for row, picture in enumerate(block, first):
        try:
            with files.open(picture.name) as stream:
                content = stream.read()
            images.decode(content, payload.shape, resize=payload.resize)
        except (OSError, ValueError) as error:
            rejects.append(Reject(row, "undecodable image", f"{picture.name}: {error}"))
            continue
        rows.append(row)
        kept.append(picture)
        data.append(content)
    return Chunk(
        source=files.root.name,
        rows=pa.array(rows, pa.int64()),
        label=pa.array([picture.label for picture in kept], pa.string()),
        payload={"image": pa.array(data, pa.binary())},
        split=split,
        source_id=pa.array([picture.name for picture in kept], pa.string()),
        rejects=rejects,
        notes=notes,
    )


def _one_folder(root: Path, label: str, tables: list[str]) -> BadInput:
    """Pictures of one folder are of one class; a table beside it, or their names, may say more."""
    table = root / tables[0] if tables and root.is_dir() else Path("labels.csv")
    return BadInput(
        where=str(root),
        expected="a folder for each of two classes or more",
        got=f"one folder, {label}" + (f", and a table beside it, {tables[0]}" if tables else ""),
        do=f"{'' if root.is_dir() else 'Unpack it. '}Where a table names the pictures: --reader.path {table} "
        "--reader.image COLUMN_OF_PATHS --reader.label COLUMN_OF_LABELS; where their names say the class, as cat.0.jpg "
        r"does: --reader.class-pattern '(?P<label>[a-z]+)\.'.",
    )
