"""A folder of image files whose class is the name of the folder they lie in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
from pydantic import Field

from tasks.core.errors import BadInput
from tasks.dataset import images
from tasks.dataset.payload import Payload
from tasks.ingestion.readers import Chunk, Reader, Reject, existing_path, files_below
from tasks.pipeline.schemas import SPLIT_NAMES

# Files held at once; images are read whole, so this is smaller than a table's chunk.
_FILES = 256


class ImageFolder(Reader, kind="image_folder"):
    """``root/class/file`` or ``root/train/class/file`` with ``root/test/class/file``."""

    path: Path = Field(description="The root folder.")
    image_size: int | None = Field(
        default=None,
        ge=4,
        description="Resize to squares of this many pixels; else all images must have the first one's size.",
    )
    channels: Literal[1, 3] | None = Field(default=None, description="1 grey, 3 RGB; default: as the first image.")

    def open(self) -> tuple[Payload, Iterator[Chunk]]:
        """List the files and decode the first for its size; all others are decoded as they are read."""
        root = existing_path(self.path, "a folder of class folders")
        files = self.files()
        tops = {path.relative_to(root).parts[0] for path in files if len(path.relative_to(root).parts) > 1}
        odd = sorted(top for top in tops if top.lower() not in SPLIT_NAMES)
        split_first = bool(tops) and not odd
        if odd and len(odd) < len(tops):
            raise BadInput(
                where=str(root),
                expected="either class folders or split folders (train, validation, test)",
                got=f"both: {', '.join(sorted(tops - set(odd)))} beside {', '.join(odd[:8])}",
                do="Move the others out, or put every class under its split.",
            )
        depth = 3 if split_first else 2
        members = [path for path in files if len(path.relative_to(root).parts) >= depth]
        if not members:
            raise BadInput(
                where=str(root),
                expected="class folders with image files (root/class/file, or root/train/class/file)",
                got=f"{len(files):,} files and no class folder" if files else "nothing",
                do="Put each class's images into a folder named after the class.",
            )
        first = (path.read_bytes() for path in members)
        shape = images.first_shape([next(first) for _ in range(min(32, len(members)))], self.image_size, str(root))
        shape = (self.channels or shape[0], *shape[1:])
        payload = Payload(
            kind="image", columns=("image",), shape=shape, dtype="uint8", resize=self.image_size is not None
        )
        return payload, self._chunks(root, members, payload, split_first)

    def _chunks(self, root: Path, members: list[Path], payload: Payload, split_first: bool) -> Iterator[Chunk]:
        for first in range(0, len(members), _FILES):
            rows, splits, labels, data, names, rejects = [], [], [], [], [], []
            for row, path in enumerate(members[first : first + _FILES], first):
                parts = path.relative_to(root).parts
                content = path.read_bytes()
                try:
                    images.decode(content, payload.shape, resize=payload.resize)
                except ValueError as error:
                    rejects.append(Reject(row, "undecodable image", f"{'/'.join(parts)}: {error}"))
                    continue
                rows.append(row)
                splits.append(parts[0] if split_first else None)
                labels.append(parts[1] if split_first else parts[0])
                data.append(content)
                names.append("/".join(parts))
            yield Chunk(
                source=root.name,
                rows=pa.array(rows, pa.int64()),
                label=pa.array(labels, pa.string()),
                payload={"image": pa.array(data, pa.binary())},
                split=pa.array(splits, pa.string()) if split_first else None,
                source_id=pa.array(names, pa.string()),
                rejects=rejects,
            )

    def files(self) -> list[Path]:
        """Every file below the root."""
        return files_below(self.path)

    def fingerprint(self) -> str:
        """As every reader's, but over paths within the root: the folder is the label."""
        import hashlib

        from tasks.pipeline.durable_files import sha256_of

        root = self.path.expanduser()
        lines = [f"{path.relative_to(root)}:{sha256_of(path)}" for path in self.files() if path != root]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()
