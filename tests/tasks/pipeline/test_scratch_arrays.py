"""What is larger than a run's memory lies in a file that is the array's alone, and has its room from the start."""

from __future__ import annotations

import errno
import os
import tempfile

import numpy as np
import pytest

from tasks.pipeline.artefacts import Run
from tasks.pipeline.scratch_arrays import allocate


@pytest.fixture
def run(tmp_path) -> Run:
    """One that may hold a mebibyte."""
    return Run(lake=tmp_path, run_id="tiny-1-1", memory_gib=1 / 1024)


def test_what_fits_is_in_memory_and_what_does_not_is_in_a_file_without_a_name(run):
    for size, share, is_file in ((1 << 20, 1.0, False), ((1 << 20) + 1, 1.0, True), (1 << 20, 0.5, True)):
        array = allocate(run, (size,), np.uint8, share)
        array[:] = 7
        assert (isinstance(array, np.memmap), array.sum(dtype=int)) == (is_file, 7 * size)
    assert list((run.lake / "cache").iterdir()) == []


@pytest.mark.parametrize("lacking", [None, AttributeError("no such call"), OSError(errno.EOPNOTSUPP, "not supported")])
def test_a_file_has_its_room_before_anything_is_written_where_the_file_system_can_say_so(run, monkeypatch, lacking):
    made: list[int] = []
    temporary_file = tempfile.TemporaryFile

    def kept(**options):
        file = temporary_file(**options)
        made.append(os.dup(file.fileno()))
        return file

    def refuse(*_: int) -> None:
        assert lacking is not None
        raise lacking

    monkeypatch.setattr(tempfile, "TemporaryFile", kept)
    if lacking is not None:
        monkeypatch.setattr(os, "posix_fallocate", refuse)
    array = allocate(run, (2 << 20,), np.uint8)
    status = os.fstat(made[0])
    os.close(made[0])
    assert (array.size, status.st_size) == (2 << 20, 2 << 20)
    assert (status.st_blocks * 512 >= 2 << 20) == (lacking is None)


def test_a_disk_without_room_is_told_and_kills_nobody(run, monkeypatch):
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"No space left on device: '.*cache'"):
        allocate(run, (2 << 20,), np.uint8)
