"""Arrow IPC files read through maps that give their pages back.

A map of a file is read without a copy, but what was read of it counts as this process's memory until it is given
back; ten gigabytes of shards would fill the machine's. A ``MappedFile`` is therefore mapped only while something reads
it, and its pages are given back as the reading goes on. Views stay valid all the same: a page that is touched again is
read again, as a rule from the operating system's cache.
"""

from __future__ import annotations

import mmap
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

from tasks.core.errors import BadArtefact

# Pages are given back once so many bytes were read.
_KEPT_BYTES = 1 << 25


class MappedFile:
    """One Arrow IPC file; its schema and the rows of its record batches are known at once.

    Raises:
        BadArtefact: it is not a whole Arrow IPC file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Readers at the same time, or while views of an earlier one live, share one map.
        self._mapping_ref: weakref.ref[mmap.mmap] | None = None
        try:
            _, reader = self._open()
            self.schema: pa.Schema = reader.schema
            self.rows = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
        # pa.ArrowInvalid is one; an empty file cannot be mapped at all.
        except ValueError as error:
            raise _not_whole(path, error) from error

    def batches(self, only: Iterable[int] | None = None) -> Iterator[pa.RecordBatch]:
        """Record batches, zero-copy: all of them in order, or ``only`` those at these places.

        A column of which nothing is touched is not read either.
        """
        mapping, reader = self._open()
        read = 0
        for i in range(reader.num_record_batches) if only is None else only:
            batch = reader.get_batch(i)
            yield batch
            read += batch.nbytes
            if read >= _KEPT_BYTES:
                _give_back(mapping)
                read = 0
        _give_back(mapping)

    def _open(self) -> tuple[mmap.mmap, Any]:
        mapping = self._mapping_ref() if self._mapping_ref is not None else None
        if mapping is None:
            with self.path.open("rb") as file:
                mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            self._mapping_ref = weakref.ref(mapping)
        # Not Arrow's included_fields: with them it copies.
        return mapping, pa.ipc.open_file(pa.py_buffer(mapping), options=pa.ipc.IpcReadOptions(use_threads=False))


def map_table(path: Path) -> pa.Table:
    """A whole file as a table, mapped into memory as long as the table lives.

    Raises:
        BadArtefact: it is not a whole Arrow IPC file.
    """
    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).read_all()
    except pa.ArrowInvalid as error:
        raise _not_whole(path, error) from error


def _give_back(mapping: mmap.mmap) -> None:
    # Windows has no such call; there the system takes pages away by itself when it needs them.
    if hasattr(mapping, "madvise"):
        mapping.madvise(mmap.MADV_DONTNEED)


def _not_whole(path: Path, error: Exception) -> BadArtefact:
    return BadArtefact(
        where=str(path),
        expected="a whole Arrow IPC file",
        got=str(error),
        do="Delete its folder in the lake and run again: the shard is then extracted anew.",
    )
