"""Files that readers could be given, altered: by bits, by pieces, by cells, by what stands in options."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 40
Write = Callable[[Path], Sequence[str]]

CELLS: tuple[str, ...] = (
    "", " ", "0", "-0", "1e999", "1" * 400, "0." + "9" * 400, "nan", "inf", "-inf", "null", "true", "é", "e\u0301",
    "\u202e", "\0", "\ufeff", "\ud800", '"', "'", "\\", ",", ";", "\t", "\r", "\n", "[", "{", "}", "{{7*7}}", "%s%n",
    "../../x", "/dev/zero", "<img src=x onerror=alert(1)>", "=1+1", "\U0001f600" * 50, "x" * 70_000, "2020-13-45",
    "9" * 20, "0x10", "1_000", "١٢", "train", "test",
)  # fmt: skip
_BYTES = (
    b"",
    b"\0",
    b"\xff",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\n",
    b"\r",
    b'"',
    b"," * 50,
    b"\x1f\x8b",
    b"PK\3\4",
    b"[" * 3000,
)
_OPTIONS: dict[str, tuple[str, ...]] = {
    "--reader.delimiter": (";", "\t", "|", "é", "\0", '"', " ", "\n", "\r", "\U0001f600", "a"),
    "--reader.encoding": (
        "utf8", "utf-16", "utf-32", "utf-7", "latin-1", "cp037", "rot13", "base64", "zlib", "idna", "punycode", "hex",
        "raw_unicode_escape", "undefined", "mbcs", "no-such", "utf-8-sig", "big5", "iso2022_jp", "uu",
    ),
    "--reader.escape": ("\\", '"', "é", "\n", ","),
    "--reader.comment": ("#", "é", '"', "a", "\n"),
    "--reader.decimal": (",", "."),
    "--reader.skip-rows": ("0", "1", "39", "41", "99999999999"),
    "--reader.quotes": ("true", "false"),
    "--reader.header": ("true", "false"),
    "--reader.missing": ("", "x", "1"),
    "--reader.label": ("label", "a", "nope", "a[0]", "label.b", "", "\ud800", "é"),
    "--reader.features": ("a", "a,b", "label", "words", "nope", ""),
    "--reader.text": ("words", "a", "label", "v"),
    "--reader.image": ("words", "a", "v"),
    "--reader.target": ("class", "number", "labels", "response"),
    "--reader.separator": ("|", " ", "aaaaaaaa"),
    "--reader.shape": ("1,1,2", "0", "-1,2", "99999999,99999999"),
    "--reader.group": ("words", "label", "a"),
    "--reader.split": ("words", "label", "a"),
    "--reader.id": ("words", "a", "v"),
    "--reader.limit": ("1", "5", "99999999999999999999"),
    "--reader.test-share": ("0", "0.5", "1"),
}  # fmt: skip


def altered(kind: str, seed: int, number: int) -> Write:
    """Writes the altered input of this number."""
    return partial(_write, kind, f"{seed}/{number}")


def _write(kind: str, seed: str, folder: Path) -> Sequence[str]:
    random = Random(f"{kind} {seed}")
    return KINDS[kind](folder, random)


def table(random: Random) -> pa.Table:
    """Numbers, vectors, words and labels, of types that formats have."""
    kinds = [pa.float64(), pa.int64(), pa.float32(), pa.int8(), pa.bool_(), pa.decimal128(24, 2)]
    label = [random.choice("xyz") for _ in range(ROWS)]
    words = [f"{random.choice(('red', 'green', 'blue'))} {random.random():.2f}" for _ in range(ROWS)]
    vectors = [[random.random() for _ in range(3)] for _ in range(ROWS)]
    columns = {
        "a": pa.array([random.randrange(100) for _ in range(ROWS)]).cast(random.choice(kinds), safe=False),
        "b": pa.array([random.choice((random.random(), None)) for _ in range(ROWS)], pa.float64()),
        "words": pa.array(words, random.choice((pa.string(), pa.large_string(), pa.binary()))),
        "v": pa.array(vectors, random.choice((pa.list_(pa.float64()), pa.list_(pa.float32(), 3)))),
        "label": pa.array(label, random.choice((pa.string(), pa.large_string(), pa.string_view(), pa.binary()))),
    }
    if random.random() < 0.3:
        columns["label"] = pa.array(label).dictionary_encode()
    if random.random() < 0.3:
        columns["s"] = pa.array([{"k": one, "l": [one]} for one in label])
    if random.random() < 0.3:
        columns["when"] = pa.array([random.randrange(-(2**62), 2**62) for _ in range(ROWS)], pa.timestamp("us"))
    return pa.table(columns)


def damaged(content: bytes, random: Random, most: int = 6) -> bytes:
    """Bits flipped, pieces cut out, repeated, moved, overwritten."""
    data = bytearray(content)
    for _ in range(random.randint(0, most)):
        at, size = random.randrange(len(data) + 1), random.choice((1, 4, 16, 200))
        match random.randrange(7):
            case 0 if data:
                data[min(at, len(data) - 1)] ^= 1 << random.randrange(8)
            case 1:
                del data[at : at + size]
            case 2:
                data[at:at] = data[at : at + size] * random.choice((1, 2, 50))
            case 3:
                data[at : at + size] = random.randbytes(size)
            case 4:
                data[at:at] = random.choice(_BYTES)
            case 5:
                data[at : at + 4] = struct.pack("<I", random.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1)))
            case 6 if random.random() < 0.3:
                del data[at:]
    return bytes(data)


def _options(random: Random, names: Sequence[str]) -> list[str]:
    chosen = random.sample(list(names), k=random.choice((0, 0, 1, 2)))
    return [f"{name}={random.choice(_OPTIONS[name])}" for name in chosen]


_OF_TABLES = [name for name in _OPTIONS if name not in (
    "--reader.delimiter", "--reader.encoding", "--reader.escape", "--reader.comment", "--reader.decimal",
    "--reader.skip-rows", "--reader.quotes", "--reader.header",
)]  # fmt: skip


def _cell(value: object, random: Random) -> str:
    return random.choice(CELLS) if random.random() < 0.03 else str(value)


def _csv(folder: Path, random: Random) -> list[str]:
    delimiter = random.choice((",", ",", ";", "\t", "|"))
    source = table(random).select(["a", "b", "words", "label"])
    lines = [delimiter.join(source.column_names)]
    lines += [delimiter.join(_cell(value, random) for value in row.values()) for row in source.to_pylist()]
    encoding = random.choice(("utf-8", "utf-8", "utf-16", "latin-1", "utf-32-be"))
    text = random.choice(("\n", "\r\n", "\r")).join(lines)
    content = text.encode(
        encoding, errors=random.choice(("surrogatepass", "replace")) if "utf" in encoding else "replace"
    )
    return _packed(folder, "a.csv", content, random, [*_OPTIONS])


def _packed(folder: Path, name: str, content: bytes, random: Random, options: Sequence[str]) -> list[str]:
    packing = random.choice(("", "", "", "", ".gz", ".zip", ".bz2", ".xz", ".zst", ".lz4"))
    if random.random() < 0.6 or not packing:
        content = damaged(content, random)
    path = folder / f"{name}{packing}"
    path.write_bytes(damaged(_pack(content, packing), random, 2))
    return [str(path), *_options(random, options)]


def _pack(content: bytes, packing: str) -> bytes:
    import bz2
    import lzma

    if packing in (".zst", ".lz4"):
        out = pa.BufferOutputStream()
        with pa.CompressedOutputStream(out, {".zst": "zstd", ".lz4": "lz4"}[packing]) as packed:
            packed.write(content)
        return out.getvalue().to_pybytes()
    if packing == ".zip":
        memory = io.BytesIO()
        with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("a", content)
        return memory.getvalue()
    return {".gz": partial(gzip.compress, mtime=0), ".bz2": bz2.compress, ".xz": lzma.compress}.get(packing, bytes)(
        content
    )


def _value(random: Random, depth: int = 0) -> object:
    """Any JSON value."""
    match random.randrange(9 if depth < 3 else 6):
        case 0:
            return random.choice((None, True, False))
        case 1:
            return random.choice((0, -1, 2**63, -(2**63), 2**64, 10**400, 10**5000))
        case 2:
            return random.choice((0.5, 1e308, float("nan"), float("inf"), -0.0))
        case 3 | 4:
            return random.choice(CELLS)
        case 5:
            return random.choice(("x", "y"))
        case 6:
            return [_value(random, depth + 1) for _ in range(random.randrange(4))]
        case _:
            return {
                random.choice(("a", "b", "label", "k.l", "", "\ud800", "[0]")): _value(random, depth + 1)
                for _ in range(3)
            }


def _jsonl(folder: Path, random: Random) -> list[str]:
    source = table(random)
    source = source.drop_columns([name for name in source.column_names if name == "when"])
    rows = [
        {name: _value(random) if random.random() < 0.03 else _plain(value) for name, value in row.items()}
        for row in source.to_pylist()
    ]
    if random.random() < 0.3:
        rows[random.randrange(len(rows))] = _value(random)  # type: ignore[call-overload]
    import sys

    sys.set_int_max_str_digits(0)
    match random.randrange(4):
        case 0:
            text = json.dumps(rows, indent=random.choice((None, 1)))
        case 1:
            text = "\n".join(json.dumps(row, indent=2) for row in rows)
        case _:
            text = "\n".join(json.dumps(row) for row in rows)
    sys.set_int_max_str_digits(4300)
    content = text.encode(random.choice(("utf-8", "utf-8", "utf-16", "utf-32")))
    return _packed(folder, "a.jsonl", content, random, _OF_TABLES)


def _plain(value: object) -> object:
    return value if isinstance(value, int | float | str | list | dict | None) else str(value)


def _parquet(folder: Path, random: Random) -> list[str]:
    out = io.BytesIO()
    source = _with_bad_text(table(random), random)
    pq.write_table(source, out, compression=random.choice(("none", "snappy", "zstd", "gzip")), row_group_size=16)
    path = folder / "a.parquet"
    path.write_bytes(damaged(out.getvalue(), random))
    return [str(path), *_options(random, _OF_TABLES)]


def _arrow(folder: Path, random: Random) -> list[str]:
    out, source = io.BytesIO(), _with_bad_text(table(random), random)
    make = random.choice((pa.ipc.new_file, pa.ipc.new_stream))
    with make(out, source.schema) as writer:
        writer.write_table(source, max_chunksize=16)
    path = folder / "a.arrow"
    path.write_bytes(damaged(out.getvalue(), random))
    return [str(path), *_options(random, _OF_TABLES)]


def _with_bad_text(source: pa.Table, random: Random) -> pa.Table:
    """One column of text, or of labels, that is no UTF-8."""
    if random.random() < 0.7:
        return source
    name = random.choice(("words", "label"))
    cells = [random.choice((b"\xff\xfe", b"\xed\xa0\x80", b"ok")) for _ in range(ROWS)]
    plain = pa.array(cells, pa.binary())
    bad = pa.StringArray.from_buffers(ROWS, plain.buffers()[1], plain.buffers()[2])
    return source.set_column(source.schema.get_field_index(name), name, bad)


def _excel(folder: Path, random: Random) -> list[str]:
    from openpyxl import Workbook
    from openpyxl.utils.exceptions import IllegalCharacterError

    book = Workbook()
    sheet = book.create_sheet("table", 0)
    for row in [
        ["a", "b", "label"],
        *([_cell(random.random(), random), _cell(1, random), random.choice("xy")] for _ in range(ROWS)),
    ]:
        with_suppressed = [str(value)[:30_000] for value in row]
        try:
            sheet.append(with_suppressed)
        except IllegalCharacterError:
            continue
    out = io.BytesIO()
    try:
        book.save(out)
    except UnicodeEncodeError:
        out = io.BytesIO(b"PK")
    path = folder / f"a{random.choice(('.xlsx', '.xls', '.ods', '.xlsm'))}"
    path.write_bytes(damaged(out.getvalue(), random, 3))
    return [str(path), *_options(random, ["--reader.skip-rows", "--reader.header", "--reader.label", "--reader.limit"])]


_TYPES = ("<f8", "<f4", "<f2", "<i8", "|u1", "|b1", ">i2", "<c16", "<U0", "<U3", "|S3", "<M8[s]", "|V4", "<f16")


def _npz(folder: Path, random: Random) -> list[str]:
    x = np.array([random.random() for _ in range(ROWS * 2)]).reshape(ROWS, 2)
    y = np.array([random.choice("xy") for _ in range(ROWS)])
    with np.errstate(all="ignore"):
        x = x if random.random() < 0.6 else _as_type(x, random)
        y = y if random.random() < 0.6 else _as_type(np.arange(ROWS) % 2, random)
    out = io.BytesIO()
    (np.savez_compressed if random.random() < 0.5 else np.savez)(out, x=x, y=y)
    path = folder / "a.npz"
    path.write_bytes(damaged(out.getvalue(), random, 3))
    return [str(path), *_options(random, ["--reader.label", "--reader.limit", "--reader.test-share"])]


def _as_type(array: np.ndarray, random: Random) -> np.ndarray:
    kind = np.dtype(random.choice(_TYPES))
    size = array.size * kind.itemsize
    return np.frombuffer(random.randbytes(size), kind).reshape(array.shape) if size else np.zeros(array.shape, kind)


def _idx(folder: Path, random: Random) -> list[str]:
    axes = random.choice(((ROWS, 2, 2), (ROWS, 3), (ROWS,), (ROWS, 2**31, 2), (2**32 - 1, 1), (ROWS, 0)))
    code = random.choice((8, 8, 9, 11, 12, 13, 14, 7))
    head = struct.pack(f">HBB{len(axes)}I", 0, code, len(axes), *axes)
    (folder / "x").write_bytes(damaged(head + random.randbytes(ROWS * 32), random, 3))
    labels = struct.pack(">HBBI", 0, 8, 1, ROWS) + bytes(random.choice((0, 1)) for _ in range(ROWS))
    (folder / "y").write_bytes(damaged(labels, random, 1))
    return ["--reader.kind=idx", f"--reader.images={folder / 'x'}", f"--reader.labels={folder / 'y'}"]


def _image_folder(folder: Path, random: Random) -> list[str]:
    from PIL import Image

    root = folder / "pictures"
    for number in range(12):
        form, mode = random.choice(("png", "jpeg", "gif", "bmp", "tiff", "webp", "ppm")), random.choice(("RGB", "L"))
        name = random.choice(("x", "y", "é", "a b", "-x", "..y"))
        file = root / name / f"{number}.{form}"
        file.parent.mkdir(parents=True, exist_ok=True)
        out = io.BytesIO()
        Image.frombytes(mode, (8, 8), random.randbytes(64 * len(mode))).save(out, form)
        file.write_bytes(damaged(out.getvalue(), random, 2))
    sizes = ["--reader.image-size=8", "--reader.channels=3", "--reader.class-pattern=([a-z]+)", "--reader.splits=x"]
    return [str(root), *random.sample(sizes, k=random.choice((0, 0, 1)))]


KINDS: dict[str, Callable[[Path, Random], list[str]]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "parquet": _parquet,
    "arrow": _arrow,
    "excel": _excel,
    "npz": _npz,
    "idx": _idx,
    "image_folder": _image_folder,
}
