"""The table of suspects says where each comes from, and makes no object of the other samples."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.report.report import _samples


def test_of_all_samples_those_alone_are_taken_that_are_shown(tmp_path):
    names = [f"{number:03}" for number in range(400)]
    table = pa.table({"sample_id": names, "source": ["a.csv"] * 400, "row": range(400), "label": ["x", "y"] * 200})
    paths = [tmp_path / "test.parquet", tmp_path / "train.parquet"]
    pq.write_table(table.slice(0, 100), paths[0])
    pq.write_table(table.slice(100), paths[1], row_group_size=64)
    shown = _samples(paths, pa.array(["399", "007", "250"]))
    assert shown == {name: row for name, row in zip(names, table.to_pylist(), strict=True) if name in shown}
    assert shown.keys() == {"007", "250", "399"}
