"""A mapped file is read without a copy, and what was read of it does not stay in memory."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tasks.pipeline.arrow_files import MappedFile, map_table

ROWS, WIDTH, BATCHES = 1000, 256, 20


@pytest.fixture
def path(tmp_path):
    values = pa.array(np.random.default_rng(0).random(ROWS * WIDTH * BATCHES, np.float32))
    table = pa.table({"x": pa.FixedSizeListArray.from_arrays(values, WIDTH)})
    with pa.OSFile(str(tmp_path / "x.arrow"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=ROWS)
    return tmp_path / "x.arrow"


def file_pages():
    """Resident bytes of this process that are a file's."""
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssFile")) * 1024


def test_pages_are_given_back_while_a_file_is_read(path, monkeypatch):
    monkeypatch.setattr("tasks.pipeline.arrow_files._KEPT_BYTES", 1 << 20)
    file = MappedFile(path)
    before, most = file_pages(), 0
    for batch in file.batches():
        assert np.isfinite(batch["x"].flatten().to_numpy()).all()
        most = max(most, file_pages() - before)
    assert path.stat().st_size > 19 << 20
    # One record batch, and what the system maps around a page.
    assert most < 6 << 20


def test_views_stay_valid_when_their_pages_were_given_back(path, monkeypatch):
    monkeypatch.setattr("tasks.pipeline.arrow_files._KEPT_BYTES", 1)
    views = [batch["x"].flatten().to_numpy(zero_copy_only=True) for batch in MappedFile(path).batches()]
    np.testing.assert_array_equal(np.concatenate(views), map_table(path)["x"].combine_chunks().flatten().to_numpy())


def test_chosen_record_batches_are_read_alone_and_rows_are_known_without_reading(path):
    file = MappedFile(path)
    assert file.rows == [ROWS] * BATCHES
    few = [batch["x"] for batch in file.batches([3, 17])]
    whole = map_table(path)["x"].chunks
    assert [chunk.equals(twin) for chunk, twin in zip(few, (whole[3], whole[17]), strict=True)] == [True, True]


def test_readers_at_the_same_time_share_one_map_and_none_is_kept_without_a_reader(path):
    file = MappedFile(path)
    one, other = (next(file.batches())["x"].flatten().to_numpy(zero_copy_only=True) for _ in range(2))
    assert np.shares_memory(one, other)
    assert str(path) in Path("/proc/self/maps").read_text()
    del one, other
    assert str(path) not in Path("/proc/self/maps").read_text()
