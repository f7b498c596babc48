"""Sources that were thought out to break a reader: files that never end, text that is none, sizes that are lies."""

from __future__ import annotations

import bz2
import gzip
import io
import os
import socket
import struct
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

N = 40
HOSTILE: dict[str, Callable[[Path], Sequence[str]]] = {}
"""What writes each into a folder; the words of the command line that name it."""

_ROWS = "a,b,label\n" + "".join(f"{i * i % 7},{i / 3:.3f},{'xy'[i % 2]}\n" for i in range(N))
_JSON_LINE = b'{"a": 1, "b": 2.5, "label": "x"}\n{"a": 2, "b": 1.5, "label": "y"}\n'


def hostile(function: Callable[[Path], Sequence[str]]) -> Callable[[Path], Sequence[str]]:
    """Enter a source under its function's name."""
    HOSTILE[function.__name__.replace("_", " ")] = function
    return function


def _file(folder: Path, name: str, content: bytes | str) -> str:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


def _many(prefix: str, option: str, values: Sequence[str], name: str = "a.csv", content: bytes | str = _ROWS) -> None:
    """One input for each value of an option."""
    for value in values:
        HOSTILE[f"{prefix} {value[:20]!r}"] = lambda folder, value=value: [
            _file(folder, name, content),
            f"{option}={value}",
        ]


_many("delimiter", "--reader.delimiter", ["é", "\0", "\n", "\r", '"', "\U0001f600", " ", "\ufeff", "\ud800"])
_many("escape", "--reader.escape", ["é", "\0", "\n", ",", '"', "\U0001f600"])
_many("comment", "--reader.comment", ["é", "\0", "\n", ",", "\ud800"])
_many("separator", "--reader.separator", ["\0", "\ud800", "\n"])
_many("label", "--reader.label", ["", "\0", "\ud800", "[[[[", "label[99999999999999999999]", "a." * 3000])
_many("encoding", "--reader.encoding", [
    "rot13", "base64", "hex", "zlib", "bz2", "uu", "quopri", "idna", "punycode", "undefined", "raw_unicode_escape",
    "unicode_escape", "utf-7", "utf-16", "utf-32", "cp037", "mbcs", "oem", "", "\0", "\ud800", "no/such", "x" * 5000,
    "iso2022_jp", "hz", "big5", "utf_8_sig",
])  # fmt: skip
_many("skip rows", "--reader.skip-rows", ["9999999999", "-1", "1e3", "9" * 30])
_many("limit", "--reader.limit", ["0", "-1", "9" * 30])
_many("features", "--reader.features", ["\0", "", ",,,", "a,a", "\ud800"])
_many("class pattern", "--reader.class-pattern", ["(", "((a+)+)+$", "()", "(?P<label>.*)\0"])


# Readers by the suffixes of what is given to them.
_KIND = {
    "csv": "csv",
    "tsv.gz": "csv",
    "csv.zip": "csv",
    "csv.zst": "csv",
    "json": "jsonl",
    "jsonl": "jsonl",
    "parquet": "parquet",
    "arrow": "arrow",
    "npz": "npz",
    "xlsx": "excel",
}


# ---- what is no plain file ---------------------------------------------------------------------------------------

for _suffix in ("csv", "jsonl", "json", "parquet", "arrow", "npz", "xlsx", "tsv.gz", "csv.zip", "csv.zst"):

    def _linked(target: str, suffix: str) -> Callable[[Path], Sequence[str]]:
        def write(folder: Path) -> Sequence[str]:
            (folder / f"a.{suffix}").symlink_to(target)
            return [str(folder / f"a.{suffix}")]

        return write

    for _device in (
        "/dev/zero",
        "/dev/urandom",
        "/dev/null",
        "/dev/full",
        "/proc/self/mem",
        "/dev/stdin",
        "/dev/tty",
    ):
        HOSTILE[f"{_device} as {_suffix}"] = _linked(_device, _suffix)

    def _fifo(folder: Path, suffix: str = _suffix) -> Sequence[str]:
        os.mkfifo(folder / f"a.{suffix}")
        return [str(folder / f"a.{suffix}")]

    def _socket(folder: Path, suffix: str = _suffix) -> Sequence[str]:
        here = Path.cwd()
        os.chdir(folder)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(f"a.{suffix}")
        os.chdir(here)
        return [str(folder / f"a.{suffix}")]

    def _folder(folder: Path, suffix: str = _suffix) -> Sequence[str]:
        (folder / f"a.{suffix}").mkdir()
        return [str(folder / f"a.{suffix}"), f"--reader.kind={_KIND[suffix]}"]

    def _in_folder(folder: Path, suffix: str = _suffix) -> Sequence[str]:
        (folder / "in").mkdir()
        os.mkfifo(folder / "in" / f"a.{suffix}")
        return [str(folder / "in"), f"--reader.kind={_KIND[suffix]}"]

    def _circle(folder: Path, suffix: str = _suffix) -> Sequence[str]:
        (folder / f"a.{suffix}").symlink_to(f"a.{suffix}")
        return [str(folder / f"a.{suffix}")]

    def _unreadable(folder: Path, suffix: str = _suffix) -> Sequence[str]:
        path = Path(_file(folder, f"a.{suffix}", b""))
        path.chmod(0)
        return [str(path)]

    HOSTILE |= {f"FIFO as {_suffix}": _fifo, f"socket as {_suffix}": _socket, f"folder as {_suffix}": _folder}
    HOSTILE |= {f"FIFO in a folder as {_suffix}": _in_folder, f"a link to itself as {_suffix}": _circle}
    HOSTILE |= {f"nothing as {_suffix}": _unreadable}


@hostile
def a_path_of_5000_letters(folder: Path) -> Sequence[str]:
    return ["/".join(["x" * 250] * 20) + ".csv"]


@hostile
def a_name_of_5000_letters(folder: Path) -> Sequence[str]:
    return ["x" * 5000 + ".csv"]


@hostile
def a_path_with_nul(folder: Path) -> Sequence[str]:
    return ["a\0b.csv"]


@hostile
def a_test_path_of_5000_letters(folder: Path) -> Sequence[str]:
    return [_file(folder, "a.csv", _ROWS), f"--reader.test-path={'x' * 5000}"]


@hostile
def an_idx_path_of_5000_letters(folder: Path) -> Sequence[str]:
    return ["--reader.kind=idx", f"--reader.images={'x' * 5000}", f"--reader.labels={'y' * 5000}"]


@hostile
def a_lake_of_5000_letters(folder: Path) -> Sequence[str]:
    return [_file(folder, "a.csv", _ROWS), f"--config={'x' * 5000}"]


def _pictures(folder: Path, classes: Sequence[bytes]) -> Path:
    from PIL import Image

    root = folder / "pictures"
    for name in classes:
        place = root / os.fsdecode(name)
        place.mkdir(parents=True, exist_ok=True)
        for number in range(4):
            Image.new("RGB", (8, 8), (number * 40, 7, 9)).save(place / f"{number}.png")
    return root


@hostile
def folder_names_that_are_not_utf_8(folder: Path) -> Sequence[str]:
    return [str(_pictures(folder, [b"x\xff", b"y"]))]


@hostile
def a_root_that_is_not_utf_8(folder: Path) -> Sequence[str]:
    root = os.fsdecode(os.fsencode(folder) + b"/\xff")
    _pictures(folder, [b"x", b"y"]).rename(root)
    return [root]


@hostile
def picture_names_that_are_not_utf_8(folder: Path) -> Sequence[str]:
    root = _pictures(folder, [b"x", b"y"])
    (root / "x" / "0.png").rename(root / "x" / os.fsdecode(b"\xff.png"))
    return [str(root)]


@hostile
def table_names_that_are_not_utf_8(folder: Path) -> Sequence[str]:
    (folder / "in").mkdir()
    for name in (b"\xff.csv", b"b.csv"):
        (folder / "in" / os.fsdecode(name)).write_text(_ROWS)
    return [str(folder / "in")]


@hostile
def partitions_that_are_not_utf_8(folder: Path) -> Sequence[str]:
    for name in (b"year=\xff", b"year=%FF", b"year=2"):
        (folder / "in" / os.fsdecode(name)).mkdir(parents=True)
        (folder / "in" / os.fsdecode(name) / "a.csv").write_text(_ROWS)
    return [str(folder / "in")]


@hostile
def a_class_folder_with_a_line_break(folder: Path) -> Sequence[str]:
    return [str(_pictures(folder, [b"x\n| y |", b"<script>", b"y"]))]


@hostile
def a_picture_of_a_million_by_a_million(folder: Path) -> Sequence[str]:
    root = _pictures(folder, [b"x", b"y"])
    content = bytearray((root / "x" / "0.png").read_bytes())
    content[16:24] = struct.pack(">II", 1 << 20, 1 << 20)
    import zlib

    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (root / "x" / "0.png").write_bytes(content)
    return [str(root)]


@hostile
def a_picture_that_is_a_fifo(folder: Path) -> Sequence[str]:
    root = _pictures(folder, [b"x", b"y"])
    os.mkfifo(root / "x" / "z.png")
    return [str(root)]


@hostile
def a_picture_that_is_endless(folder: Path) -> Sequence[str]:
    root = _pictures(folder, [b"x", b"y"])
    (root / "x" / "z.png").symlink_to("/dev/zero")
    return [str(root)]


@hostile
def a_picture_bomb(folder: Path) -> Sequence[str]:
    from PIL import Image

    root = _pictures(folder, [b"x", b"y"])
    Image.new("1", (17_000, 17_000)).save(root / "x" / "z.png")
    return [str(root)]


@hostile
def a_folder_within_itself(folder: Path) -> Sequence[str]:
    root = _pictures(folder, [b"x", b"y"])
    (root / "x" / "up").symlink_to(root)
    return [str(root)]


@hostile
def tables_in_a_folder_within_itself(folder: Path) -> Sequence[str]:
    (folder / "in").mkdir()
    _file(folder / "in", "a.csv", _ROWS)
    (folder / "in" / "up").symlink_to(folder / "in")
    return [str(folder / "in")]


# ---- sizes -------------------------------------------------------------------------------------------------------


@hostile
def one_idx_chunk_of_two_gb(folder: Path) -> Sequence[str]:
    rows = 4
    with (folder / "x").open("wb") as file:
        file.write(struct.pack(">HBBIII", 0, 8, 3, rows, 22_000, 22_000))
        file.truncate(16 + rows * 22_000 * 22_000)
    labels = _file(folder, "y", struct.pack(">HBBI", 0, 8, 1, rows) + bytes([0, 1] * (rows // 2)))
    return ["--reader.kind=idx", f"--reader.images={folder / 'x'}", f"--reader.labels={labels}"]


@hostile
def one_npz_chunk_of_two_gb(folder: Path) -> Sequence[str]:
    with zipfile.ZipFile(folder / "a.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (4, 500_000_000)})
        archive.writestr("x.npy", head.getvalue() + bytes(10_000_000))
        labels = io.BytesIO()
        np.save(labels, np.arange(4) % 2)
        archive.writestr("y.npy", labels.getvalue())
    return [str(folder / "a.npz")]


@hostile
def a_line_without_end(folder: Path) -> Sequence[str]:
    with (folder / "a.jsonl").open("wb") as file:
        file.write(b'{"a": "')
        file.truncate(3 << 30)
    return [str(folder / "a.jsonl")]


@hostile
def a_cell_without_end(folder: Path) -> Sequence[str]:
    with (folder / "a.csv").open("wb") as file:
        file.write(b"a,label\n1,x\n2,y\n")
        file.truncate(3 << 30)
    return [str(folder / "a.csv")]


@hostile
def a_header_without_end(folder: Path) -> Sequence[str]:
    return [_file(folder, "a.csv", b"a," * 20_000_000)]


@hostile
def a_hundred_thousand_columns(folder: Path) -> Sequence[str]:
    names = ",".join(f"c{i}" for i in range(100_000))
    return [_file(folder, "a.csv", f"{names},label\n" + f"{',' * 100_000}x\n" * 4)]


def _bomb(pack: Callable[[bytes], bytes], suffix: str, piece: bytes) -> Callable[[Path], Sequence[str]]:
    return lambda folder: [_file(folder, f"a.{suffix}", pack(piece) * 640)]


for _name, _pack, _packed_suffix in (("gzip", gzip.compress, "gz"), ("bzip2", bz2.compress, "bz2")):
    for _of, _piece in (("zeros", bytes(1 << 22)), ("quotes", b'"' * (1 << 22)), ("brackets", b"[" * (1 << 22))):
        for _suffix in ("csv", "jsonl"):
            HOSTILE[f"a {_name} bomb of {_of} as {_suffix}"] = _bomb(_pack, f"{_suffix}.{_packed_suffix}", _piece)


@hostile
def a_zip_bomb(folder: Path) -> Sequence[str]:
    with (
        zipfile.ZipFile(folder / "a.csv.zip", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.csv", "w") as file,
    ):
        for _ in range(8):
            file.write(bytes(1 << 26))
    return [str(folder / "a.csv.zip")]


@hostile
def a_zip_whose_member_leads_out(folder: Path) -> Sequence[str]:
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("../../../../tmp/out.csv", _ROWS)
    return [str(folder / "a.zip"), "--reader.kind=csv"]


@hostile
def a_zip_encrypted_by_a_method_nobody_knows(folder: Path) -> Sequence[str]:
    with zipfile.ZipFile(folder / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", _ROWS)
    content = bytearray((folder / "a.csv.zip").read_bytes())
    at = content.find(b"PK\1\2")
    content[at + 10 : at + 12] = struct.pack("<H", 97)
    return [_file(folder, "a.csv.zip", bytes(content))]


@hostile
def a_parquet_bomb(folder: Path) -> Sequence[str]:
    words = pa.DictionaryArray.from_arrays(pa.array([0] * 200, pa.int32()), pa.array(["x" * (1 << 24)]))
    table = pa.table({"a": words, "label": ["x", "y"] * 100})
    pq.write_table(table, folder / "a.parquet", compression="zstd", store_schema=False)
    return [str(folder / "a.parquet")]


# ---- JSON --------------------------------------------------------------------------------------------------------


def _json(name: str, content: bytes) -> None:
    HOSTILE[f"JSON of {name}"] = lambda folder: [_file(folder, "a.jsonl", content)]
    HOSTILE[f"JSON array of {name}"] = lambda folder: [
        _file(folder, "a.json", b"[" + content.replace(b"\n", b",\n") + b"{}]")
    ]


_json("deep lists", _JSON_LINE * 20 + b"[" * 100_000 + b"]" * 100_000 + b"\n")
_json("deep objects", _JSON_LINE * 20 + b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n")
_json("a deep value", _JSON_LINE * 20 + b'{"a": ' + b"[" * 900 + b"1" + b"]" * 900 + b', "label": "x"}\n')
_json("deep values", (b'{"a": ' + b"[" * 500 + b"1" + b"]" * 500 + b', "label": "x"}\n') * 20)
_json("a number of ten thousand digits", _JSON_LINE * 20 + b'{"a": ' + b"9" * 10_000 + b', "b": 1, "label": "x"}\n')
_json("a number beyond a float", _JSON_LINE * 20 + b'{"a": 1' + b"0" * 400 + b', "b": 1.5, "label": "x"}\n')
_json("numbers beyond a float", (b'{"a": 1' + b"0" * 400 + b', "b": 1.5, "label": "x"}\n') * 20 + _JSON_LINE * 2)
_json("vectors beyond a float", (b'{"a": [1' + b"0" * 400 + b'], "b": 1.5, "label": "x"}\n') * 20 + _JSON_LINE * 2)
_json("labels NaN and infinite", b'{"a": 1, "b": 3, "label": NaN}\n{"a": 2, "b": 1, "label": Infinity}\n' * 20)
_json("lone surrogates", b'{"a": 1, "b": 4, "label": "\\ud800"}\n{"a\\udfff": 2, "b": 1, "label": "y"}\n' * 20)
_json("surrogates in keys", b'{"\\ud800": 1, "b": 4, "label": "x"}\n{"\\ud800": 2, "b": 3, "label": "y"}\n' * 20)
_json(
    "labels of every kind",
    b'{"a": 1, "label": [1]}\n{"a": 2, "label": {"b": 1}}\n{"a": 3, "label": true}\n{"a":4,"label":1.5}\n' * 10,
)
_json(
    "texts among objects",
    b'{"a": {"k": 1}, "b": 3, "label": "x"}\n{"a": "{", "b": 4, "label": "y"}\n{"a": {"k": 2}, "b": 5, "label": "y"}\n'
    * 10,
)
_json("an empty key", b'{"": 1, "b": 2, "label": "x"}\n{"": 2, "b": 5, "label": "y"}\n' * 20)
_json("NUL in keys", b'{"\\u0000": 1, "b": 2, "label": "x"}\n{"\\u0000": 2, "b": 5, "label": "y\\u0000"}\n' * 20)
_json("a key of a million letters", b'{"' + b"k" * 1_000_000 + b'": 1, "label": "x"}\n' + _JSON_LINE * 20)
_json(
    "ten thousand keys",
    b"{" + b",".join(b'"k%d": %d' % (i, i) for i in range(10_000)) + b', "label": "x"}\n' + _JSON_LINE * 20,
)


# ---- csv ---------------------------------------------------------------------------------------------------------


def _csv(name: str, content: bytes | str, *more: str) -> None:
    HOSTILE[f"CSV of {name}"] = lambda folder: [_file(folder, "a.csv", content), *more]


_csv("nothing", b"")
_csv("one line break", b"\n")
_csv("a byte order mark", b"\xef\xbb\xbf")
_csv("UTF-16 marks", b"\xff\xfe")
_csv("NUL", b"a,label\n\0,x\n\0,y\n" * 10)
_csv("NUL in the header", b"a\0,label\n1,x\n2,y\n" * 10)
_csv("lines that end by CR alone", _ROWS.replace("\n", "\r"))
_csv("line separators of Unicode", _ROWS.replace("\n", "\u2028\n"))
_csv("numbers of ten thousand digits", "a,b,label\n" + f"{'9' * 10_000},1.5,x\n1,2.5,y\n" * 20)
_csv("exponents of ten thousand digits", "a,b,label\n" + f"1e{'9' * 10_000},1.5,x\n1,2.5,y\n" * 20)
_csv("NaN and infinite", "a,b,label\n" + "nan,inf,x\n-inf,1e999,y\n1,2,x\n" * 20)
_csv("labels NaN and infinite", "a,b,label\n" + "1,2,nan\n2,3,inf\n3,5,-inf\n" * 20)
_csv("labels without end", "a,label\n" + f"1,{'x' * 3_000_000}\n2,y\n" * 6)
_csv("lone surrogates", b"a,b,label\n" + b"1,3,\xed\xa0\x80\n2,5,y\n" * 20)
_csv("lone surrogates in UTF-16", "a,b,label\n1,3,\ud800\n2,5,y\n".encode("utf-16", "surrogatepass") * 1)
_csv(
    "lone surrogates in UTF-16, commented",
    "#\na,b,label\n1,3,\ud800\n2,5,y\n".encode("utf-16", "surrogatepass"),
    "--reader.comment=#",
)
_csv("the header alone", b"a,label\n")
_csv("the header alone without its end", b"a,label")
_csv("the label alone", "label\n" + "x\ny\n" * 20)
_csv("formulas", "a,b,label\n" + "=1+1,@SUM(1),=cmd|'/c calc'!A0\n2,3,+y\n" * 20)
_csv(
    "class names of markup",
    "a,b,label\n"
    + "".join(
        f"{i % 5},{i % 7},{'<img src=x onerror=alert(1)>' if i % 2 else '](javascript:alert(1))'}\n" for i in range(N)
    ),
)
_csv(
    "letters that turn text round",
    "a,b,label\n" + "".join(f"{i % 5},{i % 7},{chr(0x202E) + 'x' if i % 2 else 'y'}\n" for i in range(N)),
)


@hostile
def a_workbook_that_is_a_zip_of_entities(folder: Path) -> Sequence[str]:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 10))
    book = f'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY e0 "ha">{entities}]><workbook>&e9;</workbook>'
    with zipfile.ZipFile(folder / "a.xlsx", "w") as archive:
        archive.writestr("xl/workbook.xml", book)
        archive.writestr("[Content_Types].xml", "<Types/>")
    return [str(folder / "a.xlsx")]


@hostile
def a_workbook_with_a_cell_at_the_end(folder: Path) -> Sequence[str]:
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.create_sheet("table", 0)
    sheet.append(["a", "label"])
    sheet["XFD1048576"] = 1
    book.save(folder / "a.xlsx")
    return [str(folder / "a.xlsx")]


@hostile
def an_empty_folder(folder: Path) -> Sequence[str]:
    (folder / "in").mkdir()
    return [str(folder / "in")]


@hostile
def a_config_that_is_no_yaml(folder: Path) -> Sequence[str]:
    return [_file(folder, "a.csv", _ROWS), "--config", _file(folder, "a.yaml", b"\xff\xfe\0")]


@hostile
def a_config_of_aliases(folder: Path) -> Sequence[str]:
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]" for i in range(1, 14)]
    return [_file(folder, "a.csv", _ROWS), "--config", _file(folder, "a.yaml", "\n".join(lines))]


@hostile
def a_config_that_would_run_code(folder: Path) -> Sequence[str]:
    return [
        _file(folder, "a.csv", _ROWS),
        "--config",
        _file(folder, "a.yaml", "dataset: !!python/object/apply:os.system [exit]"),
    ]


@hostile
def a_config_of_deep_lists(folder: Path) -> Sequence[str]:
    return [_file(folder, "a.csv", _ROWS), "--config", _file(folder, "a.yaml", "[" * 20_000)]


@hostile
def a_saved_dataset_of_nothing(folder: Path) -> Sequence[str]:
    (folder / "in").mkdir()
    _file(folder / "in", "dataset_info.json", b"\xff")
    _file(folder / "in", "state.json", b"[")
    return [str(folder / "in")]


@hostile
def a_delta_table_whose_log_is_broken(folder: Path) -> Sequence[str]:
    (folder / "in" / "_delta_log").mkdir(parents=True)
    _file(folder / "in" / "_delta_log", f"{0:020}.json", b'{"metaData": 5}\n\xff')
    return [str(folder / "in")]


@hostile
def a_delta_table_whose_files_lie_elsewhere(folder: Path) -> Sequence[str]:
    deltalake = __import__("deltalake")
    deltalake.write_deltalake(str(folder / "in"), pa.table({"a": [1.0] * N, "label": ["x", "y"] * (N // 2)}))
    for file in (folder / "in").glob("*.parquet"):
        file.unlink()
    return [str(folder / "in")]


@hostile
def an_iceberg_table_whose_metadata_are_broken(folder: Path) -> Sequence[str]:
    (folder / "in" / "metadata").mkdir(parents=True)
    _file(folder / "in" / "metadata", "v1.metadata.json", b'{"format-version": 99')
    return [str(folder / "in")]


@hostile
def a_lance_table_whose_versions_are_broken(folder: Path) -> Sequence[str]:
    (folder / "in" / "_versions").mkdir(parents=True)
    _file(folder / "in" / "_versions", "1.manifest", b"\0" * 64)
    return [str(folder / "in")]
