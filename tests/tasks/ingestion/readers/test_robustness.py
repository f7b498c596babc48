"""Whatever bytes a file holds, a reader brings back what was written or raises a GradsieveError."""

from __future__ import annotations

import io
import json
import shutil
import struct
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tasks.core.errors import GradsieveError
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers import Reader
from tasks.ingestion.readers.arrow import Arrow
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.idx import Idx
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.npz import Npz
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Artefact, Run

few = settings(max_examples=15, deadline=None, database=None, phases=[Phase.explicit, Phase.generate])
FLOATS = st.floats(-1e30, 1e30, width=64)
_CELLS = st.sampled_from(["a", "label", "1", "2.5", "x", "y", "", "nan", "1e999", '"', "é", "\x00", " ", "-0"])


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _ingest(reader: Reader, folder: Path) -> tuple[Run, Artefact]:
    run = Run.start(folder / "lake", "test")
    return run, ingest.fn(run, reader, Ingestion(max_rejects=1))


def _only_our_errors(reader: Reader, folder: Path) -> None:
    try:
        _, artefact = _ingest(reader, folder)
    except GradsieveError as error:
        told = [error.where, error.expected, error.got, error.do]
    else:
        told = artefact.facts["classes"][:2]
    assert len(told) >= 2
    assert all(told)


def _samples(run: Run, artefact: Artefact) -> list[dict]:
    paths = [path for path in run.paths(artefact) if path.parent.name == "samples"]
    rows = [row for path in paths for row in pq.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: row["row"])


@few
@given(st.one_of(st.binary(max_size=200), st.lists(st.lists(_CELLS, max_size=4), max_size=12)))
@example(b"\xff\xfe,label\n1,x\n")
@example(b"a,label\n" + b"1,x\n2,y\n" * 3 + b'3,"')
def test_arbitrary_csv_raises_only_our_errors(content):
    if isinstance(content, list):
        content = ("a,label\n" + "\n".join(",".join(row) for row in content)).encode()
    with _folder() as folder:
        (folder / "a.csv").write_bytes(content)
        _only_our_errors(Csv(path=folder / "a.csv"), folder)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2),
    max_leaves=4,
)


@few
@given(st.one_of(st.binary(max_size=200), st.lists(st.fixed_dictionaries({"a": _JSON, "label": _JSON}), max_size=8)))
@example(b'{"a": 1, "label": "\xed\xa0\x80"}\n')
@example([{"a": 0.5, "label": 1}, {"a": 2**70, "label": 2}] * 2)
@example([{"a": [1], "label": "x"}, {"a": [], "label": "y"}] * 2)
@example([{"a": 1, "label": "x"}, {"a": {}, "label": "y"}] * 2)
def test_arbitrary_jsonl_raises_only_our_errors(content):
    if isinstance(content, list):
        good = [{"a": i, "label": i % 2} for i in range(4)]
        content = "\n".join(json.dumps(row) for row in [*good, *content]).encode()
    with _folder() as folder:
        (folder / "a.jsonl").write_bytes(content)
        _only_our_errors(Jsonl(path=folder / "a.jsonl"), folder)


@few
@given(st.binary(max_size=120), st.booleans())
@example(b"\0\0\x08\x02" + struct.pack(">II", 2, 0), False)
@example(b"\0\0\x08\x03" + struct.pack(">III", 2, 2**32 - 1, 2**32 - 1), False)
@example(b"\x1f\x8b\x08\x00", False)
def test_arbitrary_bytes_as_idx_raise_only_our_errors(content, headed):
    if headed:
        content = struct.pack(">HBBII", 0, 8, 2, 2, max(len(content), 1)) + content
    with _folder() as folder:
        (folder / "x").write_bytes(content)
        (folder / "y").write_bytes(struct.pack(">HBBI", 0, 8, 1, 2) + b"\0\1")
        _only_our_errors(Idx(images=folder / "x", labels=folder / "y"), folder)


@few
@given(st.binary(max_size=120))
def test_arbitrary_bytes_as_npz_raise_only_our_errors(content):
    with _folder() as folder:
        (folder / "a.npz").write_bytes(content)
        _only_our_errors(Npz(path=folder / "a.npz"), folder)


@few
@given(st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), min_size=1, max_size=4), st.booleans())
def test_an_npz_with_altered_bytes_raises_only_our_errors(changes, packed):
    out = io.BytesIO()
    x = np.arange(40.0).reshape(20, 2)
    (np.savez_compressed if packed else np.savez)(out, x=x, y=np.arange(20) % 2)
    content = bytearray(out.getvalue())
    for at, value in changes:
        content[at % len(content)] = value
    with _folder() as folder:
        (folder / "a.npz").write_bytes(content)
        _only_our_errors(Npz(path=folder / "a.npz"), folder)


@few
@given(st.one_of(st.binary(max_size=100), st.text("(){}[]',: 0123456789-<f8shapedetr_on", max_size=60)))
@example("{'descr': '<f8', 'fortran_order': False, 'shape': (20, -1), }")
@example("{'descr': '<f8', 'fortran_order': False, 'shape': (20, 4611686018427387904), }")
@example("{'descr': '|V0', 'fortran_order': False, 'shape': (20, 2), }")
def test_arbitrary_array_headers_in_npz_raise_only_our_errors(header):
    if isinstance(header, str):
        text = header.encode() + b"\n"
        header = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + bytes(320)
    labels = io.BytesIO()
    np.save(labels, np.arange(20) % 2)
    with _folder() as folder:
        with zipfile.ZipFile(folder / "a.npz", "w") as archive:
            archive.writestr("x.npy", header)
            archive.writestr("y.npy", labels.getvalue())
        _only_our_errors(Npz(path=folder / "a.npz"), folder)


@pytest.mark.parametrize("reader", [Parquet, Arrow])
@few
@given(st.binary(max_size=200), st.sampled_from([b"", b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff"]))
def test_arbitrary_bytes_as_a_binary_table_raise_only_our_errors(reader, content, magic):
    with _folder() as folder:
        (folder / "a").write_bytes(magic + content + magic)
        _only_our_errors(reader(path=folder / "a"), folder)


@pytest.mark.parametrize("kind", ["csv", "jsonl", "parquet", "arrow"])
@few
@given(st.lists(st.tuples(FLOATS, FLOATS, st.sampled_from(["x", "y"])), min_size=1, max_size=8))
def test_every_float_comes_back_to_the_last_bit(kind, rows):
    rows = [*rows, *[(0.1, 0.2, "x"), (0.3, -0.0, "y")] * 2]
    table = pa.table({name: [row[i] for row in rows] for i, name in enumerate(("a", "b", "label"))})
    with _folder() as folder:
        path = folder / f"a.{kind}"
        if kind == "csv":
            path.write_text("a,b,label\n" + "".join(f"{a!r},{b!r},{label}\n" for a, b, label in rows))
        elif kind == "jsonl":
            path.write_text("".join(json.dumps(row) + "\n" for row in table.to_pylist()))
        elif kind == "parquet":
            pq.write_table(table, path)
        else:
            with pa.ipc.new_file(str(path), table.schema) as writer:
                writer.write_table(table)
        reader = {"csv": Csv, "jsonl": Jsonl, "parquet": Parquet, "arrow": Arrow}[kind]
        back = [(row["a"], row["b"], row["label"]) for row in _samples(*_ingest(reader(path=path), folder))]
    assert [tuple(map(repr, row)) for row in back] == [tuple(map(repr, row)) for row in rows]


_IDX_TYPES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}


@few
@given(st.data())
def test_every_idx_array_comes_back(data):
    kind = data.draw(st.sampled_from(sorted(_IDX_TYPES)))
    axes = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    # Values that float32, which networks see, holds exactly.
    values = st.integers(-128 if kind != "u1" else 0, 127)
    x = data.draw(hnp.arrays(np.dtype(kind), (6, *axes), elements=values))
    y = np.array([0, 1] * 3, np.uint8)
    with _folder() as folder:
        for name, array, code in (("x", x, _IDX_TYPES[kind]), ("y", y, 8)):
            header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
            (folder / name).write_bytes(header + array.tobytes())
        rows = _samples(*_ingest(Idx(images=folder / "x", labels=folder / "y", test_share=0), folder))
    assert [row["label"] for row in rows] == ["0", "1"] * 3
    assert np.array_equal(np.array([row["x"] for row in rows]), x.reshape(6, -1))
