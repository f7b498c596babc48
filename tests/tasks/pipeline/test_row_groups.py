"""Tables written piece by piece: the file of one table where it is small, and otherwise of row groups of one size."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.pipeline.row_groups import GROUP_ROWS, first_rows, write_groups

SCHEMA = pa.schema([pa.field("sample_id", pa.string(), nullable=False), pa.field("rank", pa.int64())])


def batches(rows, size):
    """A table of so many rows in pieces of ``size``."""
    table = pa.table({"sample_id": [f"{i:08x}" for i in range(rows)], "rank": range(rows)})
    return table.to_batches(size)


@pytest.mark.parametrize("rows", [0, 1, 1000])
def test_a_small_one_is_byte_for_byte_the_file_of_one_table(tmp_path, rows):
    table = pa.table({"sample_id": [f"{i:08x}" for i in range(rows)], "rank": range(rows)}, SCHEMA)
    pq.write_table(table, tmp_path / "whole", compression="zstd")
    assert write_groups(tmp_path / "pieces", batches(rows, 7), SCHEMA) == rows
    assert (tmp_path / "pieces").read_bytes() == (tmp_path / "whole").read_bytes()


def test_row_groups_do_not_depend_on_how_the_rows_came(tmp_path):
    rows = 2 * GROUP_ROWS + 5
    for name, size in {"many": 10_001, "one": rows}.items():
        assert write_groups(tmp_path / name, batches(rows, size), SCHEMA) == rows
    assert (tmp_path / "many").read_bytes() == (tmp_path / "one").read_bytes()
    with pq.ParquetFile(tmp_path / "one") as file:
        assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [GROUP_ROWS, GROUP_ROWS, 5]


@pytest.mark.parametrize("rows", [0, 3, GROUP_ROWS, GROUP_ROWS + 1, 10**9])
def test_the_first_rows_are_those_of_the_whole(tmp_path, rows):
    write_groups(tmp_path / "table", batches(GROUP_ROWS + 9, 5000), SCHEMA)
    assert first_rows(tmp_path / "table", rows).equals(pq.read_table(tmp_path / "table").slice(0, rows))
