"""The spool gives each column of its training rows, whatever the pieces it was written in."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tasks.ingestion.splits import Drawn
from tasks.ingestion.spool import Spool
from tasks.pipeline.schemas import SPLITS


def test_cells_are_those_of_the_rows_that_are_trained_on_and_not_dropped(tmp_path):
    n = 100
    table = pa.table({"a": range(n), "b": [f"{i}" for i in range(n)]})
    pq.write_table(table, tmp_path / "spool.parquet", row_group_size=7)
    codes = np.random.default_rng(0).integers(0, len(SPLITS), n).astype(np.int8)
    spool = Spool(tmp_path / "spool.parquet", Drawn(codes, n, are_repeats=False), frozenset({3, 4, 50}))
    rows = [i for i in range(n) if codes[i] == SPLITS.index("train") and i not in spool.dropped]
    with spool.training_cells() as cells_of:
        for name in ("b", "a", "b"):
            assert [value for part in cells_of(name) for value in part.to_pylist()] == table[name].take(
                rows
            ).to_pylist()
