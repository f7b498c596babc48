"""What frozen encoders made of samples: one vector for each content, kept in the lake from run to run.

    <lake>/features/<digest of the encoder>/<digest of the contents>.arrow    columns content, vector

Parts are written whole and never changed, so that an encoding that is killed goes on where it was, and two runs that
encode the same do each other no harm. All of it may be deleted; it is then computed again.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import hashlib
import os
import time
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadArtefact
from tasks.pipeline.arrow_files import map_table
from tasks.pipeline.durable_files import partial_folder, rename_file
from tasks.pipeline.stored_names import inside

FOLDER = "features"
# Letters of a content hash, with which the ids of all its copies begin.
_CONTENT = 32
_CHECKSUM = b"crc32"


class FeatureStore:
    """The vectors of one encoder."""

    def __init__(self, lake: Path, encoder: str) -> None:
        self.folder = inside(lake / FOLDER, encoder[:32], single=True)

    @property
    def parts(self) -> list[pa.Table]:
        """Mapped, not read."""
        return [map_table(path) for path in self._paths()]

    @property
    def width(self) -> int:
        """d; there must be a part."""
        return self.parts[0]["vector"].type.list_size

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("*.arrow"))

    def drop_damaged(self) -> list[str]:
        """Remove parts that are not as they were written; their names. What they held is missing then."""
        damaged = [path for path in self._paths() if not _is_whole(path)]
        for path in damaged:
            path.unlink(missing_ok=True)
        return [path.name for path in damaged]

    def known(self) -> pa.Array:
        """The contents there are vectors of."""
        return pa.chunked_array(
            [chunk for part in self.parts for chunk in part["content"].chunks], pa.string()
        ).combine_chunks()

    def add(self, contents: Sequence[str], vectors: np.ndarray) -> None:
        """Keep vectors, m × d float32, of as many contents."""
        name = hashlib.sha256("".join(contents).encode()).hexdigest()[:32]
        lists = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1])
        table = pa.table({"content": pa.array(contents, pa.string()), "vector": lists})
        table = table.replace_schema_metadata({_CHECKSUM: _checksum(table)})
        with partial_folder(self.folder) as aside:
            path = aside / "part.arrow"
            with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)
            rename_file(path, self.folder / f"{name}.arrow")

    def fill(self, ids: Sequence[str] | np.ndarray, x: np.ndarray) -> None:
        """Write the vectors of samples into ``x``, n × d, in their order.

        Raises:
            BadArtefact: some have none.
        """
        contents = contents_of(ids)
        os.utime(self.folder)  # its age says when it was last of use
        is_filled = np.zeros(len(x), bool)
        for part in self.parts:
            rows = pc.index_in(contents, value_set=part["content"].combine_chunks())
            here = rows.is_valid().to_numpy(zero_copy_only=False) & ~is_filled
            if not here.any():
                continue
            vectors = part["vector"].combine_chunks()
            flat = vectors.flatten().to_numpy(zero_copy_only=False).reshape(len(vectors), -1)
            x[here] = flat[pc.fill_null(rows, 0).to_numpy()[here]]
            is_filled |= here
        if not is_filled.all():
            raise BadArtefact(
                where=str(self.folder),
                expected="a vector of every sample",
                got=f"none of {int((~is_filled).sum()):,}",
                do="Run again: what is missing is then computed.",
            )


def _checksum(table: pa.Table) -> bytes:
    """Of the vectors, and of what they are of."""
    value = zlib.crc32("".join(table["content"].to_pylist()).encode())
    for chunk in table["vector"].chunks:
        value = zlib.crc32(chunk.flatten().to_numpy(zero_copy_only=False), value)
    return str(value).encode()


def _is_whole(path: Path) -> bool:
    try:
        table = map_table(path)
        return (table.schema.metadata or {}).get(_CHECKSUM) == _checksum(table)
    except (BadArtefact, OSError, ValueError, KeyError):
        return False


def unused_encoders(lake: Path, days: float) -> list[Path]:
    """Folders of encoders whose vectors nobody has asked for in so many days."""
    before = time.time() - days * 86_400
    folders = sorted(path for path in (lake / FOLDER).glob("[!.]*") if path.is_dir() and not path.is_symlink())
    return [folder for folder in folders if folder.stat().st_mtime < before]


def contents_of(ids: Sequence[str] | np.ndarray) -> pa.Array:
    """What samples are known by: copies have one content."""
    return pc.utf8_slice_codeunits(pa.array(ids, pa.string()), 0, _CONTENT)
