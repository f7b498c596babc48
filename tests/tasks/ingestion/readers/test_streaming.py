"""A reader holds a few chunks, never the source."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadInput
from tasks.ingestion.readers import CHUNK_ROWS, READERS, Reader

N = 20_000


def _source(kind: str, folder: Path) -> Reader:
    x = np.random.default_rng(0).integers(0, 256, (N, 64), dtype=np.uint8)
    y = (np.arange(N) % 2).astype(np.uint8)
    table = pa.table({"v": pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 64), "label": y.astype(str)})
    path = folder / f"a.{kind}"
    if kind == "csv":
        rows = (",".join(map(str, values)) + f",{label}\n" for values, label in zip(x.tolist(), y, strict=True))
        path.write_text(",".join(f"p{i}" for i in range(64)) + ",label\n" + "".join(rows))
    elif kind == "jsonl":
        path.write_text("".join(f'{{"v": {v}, "label": {label}}}\n' for v, label in zip(x.tolist(), y, strict=True)))
    elif kind == "parquet":
        pq.write_table(table, path)
    elif kind == "arrow":
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    elif kind == "npz":
        np.savez_compressed(path, x=x, y=y)
    else:
        for name, array in (("x", x), ("y", y)):
            head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
            (folder / name).write_bytes(head + array.tobytes())
        return READERS.components["idx"](images=folder / "x", labels=folder / "y")
    return READERS.components[kind](path=path)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow", "npz", "idx"])
def test_chunks_are_small_and_are_every_row_once(kind, tmp_path):
    _, chunks = _source(kind, tmp_path).open()
    # pyarrow's CSV parser cuts by bytes, a megabyte at a time.
    largest = N // 2 if kind == "csv" else CHUNK_ROWS
    at = 0
    for chunk in chunks:
        assert 0 < len(chunk.rows) <= largest
        assert chunk.rows.to_pylist() == list(range(at, at + len(chunk.rows)))
        assert {len(column) for column in chunk.payload.values()} == {len(chunk.rows)}
        at += len(chunk.rows)
    assert at == N


@pytest.mark.parametrize("kind", ["jsonl", "idx"])
def test_the_first_chunks_come_before_the_end_is_read(kind, tmp_path):
    """The end of the file is cut off only after the first chunk was taken: had it been read, nobody would notice."""
    reader = _source(kind, tmp_path)
    _, chunks = reader.open()
    first = next(chunks)
    assert len(first.rows) == CHUNK_ROWS
    path = reader.files()[0]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    seen = CHUNK_ROWS
    with contextlib.suppress(BadInput):
        for chunk in chunks:
            seen += len(chunk.rows)
    assert seen < N


_PROBE = """
import resource, sys, time
from pathlib import Path
from tasks.pipeline.artefacts import Run
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.two_passes import Ingestion

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

folder = Path(sys.argv[1])
run = Run.start(folder / "lake", "test")
ingest.fn(run, Csv(path=folder / "small.csv"), Ingestion())
before = peak()
ingested = ingest.fn(run, Csv(path=folder / "large.csv"), Ingestion())
print(sum(ingested.facts["splits"].values()), peak() - before)
"""


def test_ingesting_a_large_csv_takes_little_memory(tmp_path):
    """20 MB of text; read whole, its cells as text and as float64 together would be some 75 MB."""
    random = np.random.default_rng(0)
    columns = 100
    lines = [
        ",".join(f"{value:.6f}" for value in row) + f",{i % 2}\n"
        for i, row in enumerate(random.random((2000, columns)))
    ]
    header = ",".join(f"p{i}" for i in range(columns)) + ",label\n"
    (tmp_path / "small.csv").write_text(header + "".join(lines))
    with (tmp_path / "large.csv").open("w") as file:
        file.write(header)
        for repeat in range(11):
            file.writelines(f"{repeat}{line[1:]}" for line in lines)
    assert (tmp_path / "large.csv").stat().st_size > 19_000_000
    done = subprocess.run([sys.executable, "-c", _PROBE, str(tmp_path)], capture_output=True, text=True, check=True)
    rows, grown = map(int, done.stdout.split())
    assert rows == 22_000
    assert grown < 50_000, f"{grown / 1000:.0f} MB more than for a small file"
