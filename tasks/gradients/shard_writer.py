"""How a gradient shard is written: batch by batch, in files and record batches of bounded size."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.pipeline.artefacts import Draft
from tasks.pipeline.schemas import GRADIENTS

# A record batch is written once it holds this much; a file ends once it does.
_BATCH_BYTES = 1 << 20
_FILE_BYTES = 1 << 30


class ShardWriter:
    """Writes one shard into a draft: files of bounded size, record batches of bounded size.

    Args:
        draft: the artefact being written.
        name: of the shard.
        folder: ``gradients``, or ``canaries`` and ``reference`` for those that are no sample's own.
    """

    def __init__(self, draft: Draft, name: str, folder: str = "gradients") -> None:
        self.draft, self.name, self.folder = draft, name, folder
        self._buffer: list[pa.RecordBatch] = []
        self._buffer_bytes = 0
        self._scalars: list[pa.RecordBatch] = []
        self._files: list[int] = []
        self._sink: pa.OSFile | None = None
        self._writer: Any = None

    def __enter__(self) -> ShardWriter:
        return self

    def write(self, batch: pa.RecordBatch) -> None:
        """Append rows of ``schemas.gradient_shard``'s schema, carrying ``ShardMetadata``."""
        self._scalars.append(pa.RecordBatch.from_arrays([batch[name] for name in GRADIENTS.names], schema=GRADIENTS))
        self._buffer.append(batch)
        self._buffer_bytes += batch.nbytes
        if self._buffer_bytes >= _BATCH_BYTES:
            self._flush()

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            if self._buffer:
                self._flush()
            self._close()
            scalars = pa.Table.from_batches(self._scalars, GRADIENTS)
            target = self.draft.path(f"{self.folder}/{self.name}.parquet", len(scalars))
            pq.write_table(scalars, target, compression="zstd")
        elif self._sink is not None:
            self._sink.close()

    def _flush(self) -> None:
        if self._writer is None:
            self._sink = pa.OSFile(str(self.draft.path(self._path())), "wb")
            self._writer = pa.ipc.new_file(self._sink, self._buffer[0].schema)
            self._files.append(0)
        batch = self._buffer[0] if len(self._buffer) == 1 else pa.concat_batches(self._buffer)
        self._writer.write_batch(batch)
        self._files[-1] += batch.num_rows
        self._buffer, self._buffer_bytes = [], 0
        if self._sink is not None and self._sink.tell() >= _FILE_BYTES:
            self._close()

    def _close(self) -> None:
        if self._writer is not None and self._sink is not None:
            self._writer.close()
            self._sink.close()
            self.draft.path(self._path(len(self._files) - 1), self._files[-1])
            self._writer = self._sink = None

    def _path(self, place: int | None = None) -> str:
        place = len(self._files) if place is None else place
        return f"{self.folder}/{self.name}{f'.{place:03}' if place else ''}.arrow"
