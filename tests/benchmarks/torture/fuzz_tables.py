"""Tables of Arrow, Parquet and NumPy with every type and value that a network cannot be fed."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tests.benchmarks.torture.fuzz_hostile import HOSTILE, N, hostile

# ---- text that is none -------------------------------------------------------------------------------------------


def _bad(cells: Sequence[bytes]) -> pa.Array:
    plain = pa.array(cells, pa.binary())
    return pa.StringArray.from_buffers(len(cells), plain.buffers()[1], plain.buffers()[2])


def _table(columns: dict[str, Any]) -> pa.Table:
    return pa.table({name: each() if callable(each) else each for name, each in columns.items()})


def _tables() -> dict[str, Callable[[], pa.Table]]:
    a, label = pa.array([i / 3 for i in range(N)]), pa.array(["x", "y"] * (N // 2))
    bad = partial(_bad, [b"\xff\xfe", b"ok"] * (N // 2))
    half = partial(_bad, [b"\xed\xa0\x80", b"ok"] * (N // 2))

    def of(**columns: Any) -> Callable[[], pa.Table]:
        return partial(_table, {"a": a, "label": label} | columns)

    return {
        "labels that are not Unicode": of(label=bad),
        "labels of half a surrogate pair": of(label=half),
        "words that are not Unicode": of(w=bad),
        "binary labels": of(label=pa.array([b"\xff", b"y"] * (N // 2))),
        "dictionary labels that are not Unicode": of(
            label=lambda: pa.DictionaryArray.from_arrays(pa.array([0, 1] * (N // 2)), _bad([b"\xff", b"y"]))
        ),
        "fixed lists of length 0": of(v=pa.array([[]] * N, pa.list_(pa.float64(), 0))),
        "only fixed lists of length 0": lambda: pa.table(
            {"v": pa.array([[]] * N, pa.list_(pa.float64(), 0)), "label": label}
        ),
        "empty lists": lambda: pa.table({"v": pa.array([[]] * N, pa.list_(pa.float64())), "label": label}),
        "fixed binary of width 0": of(v=pa.array([b""] * N, pa.binary(0))),
        "labels that are fixed lists": of(label=pa.array([["x"]] * N, pa.list_(pa.string(), 1))),
        "NaN labels": of(label=pa.array([float("nan")] * N)),
        "infinite labels": of(label=pa.array([float("inf"), 1.0] * (N // 2))),
        "null labels": of(label=pa.nulls(N)),
        "null columns": of(n=pa.nulls(N)),
        "no columns but labels": lambda: pa.table({"label": label}),
        "no columns": lambda: pa.table({}),
        "structs without fields": of(s=pa.array([{}] * N, pa.struct([]))),
        "maps": of(m=pa.array([[("k", 1)]] * N, pa.map_(pa.string(), pa.int64()))),
        "unions": of(
            u=lambda: pa.UnionArray.from_dense(
                pa.array([0] * N, pa.int8()), pa.array(list(range(N)), pa.int32()), [pa.array(range(N))]
            )
        ),
        "intervals": of(i=pa.array([(1, 2, 3)] * N, pa.month_day_nano_interval())),
        "durations": of(d=pa.array([2**62] * N, pa.duration("s"))),
        "times beyond the calendar": of(t=pa.array([2**62, -(2**62)] * (N // 2), pa.timestamp("s"))),
        "a zone nobody knows": of(t=pa.array([1] * N, pa.timestamp("s", "Nowhere/Land"))),
        "dates beyond the calendar": of(t=pa.array([2**31 - 1, -(2**31)] * (N // 2), pa.date32())),
        "labels that are times beyond the calendar": of(label=pa.array([2**62, 1] * (N // 2), pa.timestamp("s"))),
        "labels that are dates": of(label=pa.array([1, 2] * (N // 2), pa.date32())),
        "decimals of 76 digits": of(d=pa.array([10**70] * N, pa.decimal256(76, 0))),
        "half floats": of(h=pa.array(np.arange(N, dtype=np.float16))),
        "lists of lists of lists": of(v=pa.array([[[[1.0]]]] * N)),
        "lists of NaN": of(v=pa.array([[float("nan")] * 2] * N)),
        "vectors of vectors": of(v=pa.array([[[1.0, 2.0]] * 2] * N, pa.list_(pa.list_(pa.float64(), 2), 2))),
        "lists of nothing": of(v=pa.array([[None]] * N, pa.list_(pa.null()))),
        "run ends": of(r=lambda: pa.RunEndEncodedArray.from_arrays(pa.array([N], pa.int32()), pa.array(["x"]))),
        "list views": of(v=pa.array([[1.0, 2.0]] * N, pa.list_view(pa.float64()))),
        "large list views of words": of(v=pa.array([["a"]] * N, pa.large_list_view(pa.string()))),
        "views of bytes": of(v=pa.array([b"\xff"] * N, pa.binary_view())),
        "dictionaries of lists": of(d=lambda: pa.DictionaryArray.from_arrays(pa.array([0] * N), pa.array([[1.0]]))),
        "columns with names of ours": of(sample_id=a, split=label, row=a, source=label),
        "text that says it is JSON": of(
            j=lambda: pa.ExtensionArray.from_storage(pa.json_(), pa.array(["{", '{"a": 1}'] * (N // 2)))
        ),
        "a column whose name is empty": of(**{"": a}),
        "names with NUL and quotes": of(**{'"; DROP TABLE x; --\0': a, "\n|": a, "<b>": a}),
        "decimals as labels": of(label=pa.array([1, 2] * (N // 2), pa.decimal128(5, 2))),
        "boolean labels": of(label=pa.array([True, False] * (N // 2))),
        "labels that are structs": of(label=pa.array([{"k": "x"}] * N)),
        "labels of a million letters": of(label=pa.array(["x" * 1_000_000, "y"] * (N // 2))),
        "labels that are all different": of(label=pa.array([str(i) for i in range(N)])),
        "durations as labels": of(label=pa.array([1, 2] * (N // 2), pa.duration("s"))),
    }


def _as_arrow(make: Callable[[], pa.Table], more: Sequence[str]) -> Callable[[Path], Sequence[str]]:
    def write(folder: Path) -> Sequence[str]:
        table = make()
        with pa.ipc.new_file(str(folder / "a.arrow"), table.schema) as writer:
            writer.write_table(table)
        return [str(folder / "a.arrow"), *more]

    return write


def _as_parquet(make: Callable[[], pa.Table], more: Sequence[str]) -> Callable[[Path], Sequence[str]]:
    def write(folder: Path) -> Sequence[str]:
        try:
            pq.write_table(make(), folder / "a.parquet")
        except (pa.ArrowException, OSError):
            (folder / "a.parquet").write_bytes(b"PAR1")
        return [str(folder / "a.parquet"), *more]

    return write


for _name, _make in _tables().items():
    HOSTILE[f"Arrow of {_name}"] = _as_arrow(_make, [])
    HOSTILE[f"Parquet of {_name}"] = _as_parquet(_make, [])
    HOSTILE[f"Arrow of {_name}, labels"] = _as_arrow(_make, ["--reader.target=labels"])
    HOSTILE[f"Arrow of {_name}, numbers"] = _as_arrow(_make, ["--reader.target=number"])
    _column = next(
        (name for name in ("v", "w", "t", "d", "s", "m", "u", "i", "r", "h", "n") if name in _make().column_names), "a"
    )
    HOSTILE[f"Arrow of {_name}, named"] = _as_arrow(_make, [f"--reader.features={_column}"])
    HOSTILE[f"Arrow of {_name}, as text"] = _as_arrow(_make, [f"--reader.text={_column}"])
    HOSTILE[f"Arrow of {_name}, as images"] = _as_arrow(_make, [f"--reader.image={_column}"])
    HOSTILE[f"Arrow of {_name}, as groups"] = _as_arrow(
        _make, [f"--reader.group={_column}", f"--reader.id={_column}", f"--reader.split={_column}"]
    )


# ---- npz ---------------------------------------------------------------------------------------------------------


def _npz(name: str, x: np.ndarray, y: np.ndarray) -> None:
    def write(folder: Path) -> Sequence[str]:
        np.savez(folder / "a.npz", x=x, y=y)
        return [str(folder / "a.npz")]

    HOSTILE[f"npz of {name}"] = write


_X, _Y = np.arange(N * 2.0).reshape(N, 2), np.arange(N) % 2
_npz("labels that are not Unicode", _X, np.frombuffer(struct.pack("<2I", 0xD800, 0x59) * (N // 2), "<U1"))
_npz("labels beyond Unicode", _X, np.frombuffer(struct.pack("<2I", 0xFFFFFFFF, 0x59) * (N // 2), "<U1"))
_npz("labels of NUL", _X, np.array(["\0", "y"] * (N // 2)))
_npz("half floats", _X.astype(np.float16), _Y)
_npz("long doubles", _X.astype(np.longdouble), _Y)
_npz("NaN", _X * np.nan, _Y)
_npz("one label", _X, np.zeros(N, int))
_npz("times", _X.astype("M8[s]"), _Y)
_npz("complex numbers", _X.astype(complex), _Y)
_npz("records", np.zeros(N, [("a", "f8"), ("b", "i4")]), _Y)
_npz("32 axes", np.zeros((N, *[1] * 31)), _Y)
_npz("seven axes", np.zeros((N, *[1] * 6)), _Y)
_npz("5 axes", np.random.default_rng(0).normal(size=(N, 2, 2, 2, 2)), _Y)


@hostile
def npz_of_labels_of_no_width(folder: Path) -> Sequence[str]:
    """U0, which NumPy reads but does not write."""
    head = {"descr": "<U0", "fortran_order": False, "shape": (N,)}
    out, x = io.BytesIO(), io.BytesIO()
    np.lib.format.write_array_header_1_0(out, head)
    np.save(x, _X)
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        archive.writestr("x.npy", x.getvalue())
        archive.writestr("y.npy", out.getvalue())
    return [str(folder / "a.npz")]


@hostile
def an_npz_with_one_name_twice(folder: Path) -> Sequence[str]:
    out = io.BytesIO()
    np.save(out, _X)
    with zipfile.ZipFile(folder / "a.npz", "w") as archive:
        for name in ("x.npy", "x.npy", "y.npy"):
            archive.writestr(name, out.getvalue())
    return [str(folder / "a.npz")]


@hostile
def an_npz_whose_header_is_a_gigabyte(folder: Path) -> Sequence[str]:
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"\x93NUMPY\x02\x00" + struct.pack("<I", 1 << 30) + b" " * (1 << 26))
        archive.writestr("y.npy", b"")
    return [str(folder / "a.npz")]
