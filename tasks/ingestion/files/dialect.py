"""How a file of separated values is written, told by its first lines where no option says it."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

from tasks.core.errors import BadInput
from tasks.ingestion.files.compression import inner_name, open_bytes
from tasks.ingestion.files.plain_files import check_width

_DELIMITERS = (",", ";", "\t", "|")
_NAMES = {"\t": "a tab", ",": "a comma", ";": "a semicolon", "|": "a bar"}
_TABS = (".tsv", ".tab")
_BOMS = ((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32"), (codecs.BOM_UTF16_LE, "utf-16"),
         (codecs.BOM_UTF16_BE, "utf-16"))  # fmt: skip
_SEPARATOR_LINE = re.compile(r'\ufeff?"?sep=([\t !#-~])"?\s*', re.IGNORECASE)

_TEXT = "the name of an encoding of text: utf8, latin-1, cp1252 …"

# Bytes and rows that are looked at.
_HEAD, _LARGEST_HEAD = 1 << 16, 1 << 24
_ROWS = 200
# The share of rows that must have as many cells as the first one.
_ALIKE = 0.5

THOUSANDS = "[. \u00a0\u202f]"
"""What stands between the thousands of a number with a decimal comma: a point, or one of three spaces."""
COMMA_NUMBER = rf"[+-]?(?:(?:[1-9]\d{{0,2}}(?:{THOUSANDS}\d{{3}})+|\d+)(?:,\d*)?|,\d+)(?:[eE][+-]?\d+)?"
_COMMA_NUMBER = re.compile(COMMA_NUMBER)
_POINT_NUMBER = re.compile(r"(?=.*\d)[+-]?(?:\d{1,3}(?:,\d{3})+|\d*)(?:\.\d*)?(?:[eE][+-]?\d+)?")


@dataclass(frozen=True)
class DialectOptions:
    """What was said about a file; None is for the file to tell."""

    delimiter: str | None = None
    encoding: str | None = None
    comment: str | None = None
    escape: str | None = None
    quotes: bool = True
    decimal: str | None = None
    skip_rows: int = 0
    header: bool = True
    label: str | None = None
    """A name that is to be expected in the header."""


@dataclass(frozen=True)
class Dialect:
    """How one file is written."""

    delimiter: str
    encoding: str
    skip: int = 0
    """Lines before the header."""
    header: bool = True
    comment: str | None = None
    escape: str | None = None
    quotes: bool = True
    unnamed_first: bool = False
    """Whether rows have one cell more than the header, at their beginning: R's row names."""
    unnamed_last: int = 0
    """Empty cells that every row has after those of the header; negative: that the header has after a row's."""
    decimal_columns: frozenset[int] = frozenset()
    """Positions of the columns of numbers with a decimal comma."""
    preamble: int = 0
    """Lines at the beginning that have fewer cells than all others: no header, it seems."""
    notes: tuple[str, ...] = ()
    """What was taken for granted."""


def dialect_of(file: Path, options: DialectOptions) -> Dialect:
    """How a file is written: as the options say, else as its first lines show.

    Args:
        file: it may be compressed.
        options: of the reader.

    Raises:
        BadInput: no file can be read by the options.
    """
    check_options(options)
    head, ended = _head(file)
    encoding = options.encoding or next((name for bom, name in _BOMS if head.startswith(bom)), "utf8")
    lines = _lines(head, encoding, ended=ended)
    declared = _SEPARATOR_LINE.fullmatch(lines[0]) if lines and not options.skip_rows else None
    skip = options.skip_rows + (declared is not None)
    lines = [
        line for line in lines[skip:] if line.strip() and not (options.comment and line.startswith(options.comment))
    ]
    usual = "\t" if Path(inner_name(file)).suffix.lower() in _TABS else ","
    label = options.label if options.header else None
    delimiter = options.delimiter or (declared[1] if declared else delimiter_of(lines, usual, label, options))
    notes = []
    if delimiter != usual and options.delimiter is None:
        typed = "tab" if delimiter == "\t" else delimiter
        notes.append(
            f"{file.name}: {_NAMES.get(delimiter, repr(delimiter))} separates the cells (--reader.delimiter {typed!r})"
        )
    rows = _cells(lines, delimiter, options)
    check_width(max(map(len, rows), default=0), str(file))
    rows = rows if ended or len(rows) == _ROWS else rows[:-1]  # the last one may be cut
    first, last = _unnamed(rows) if options.header else (False, 0)
    cells = rows[1 if options.header else 0 :]
    mark = options.decimal or ("," if delimiter != "," and decimal_columns(cells, explicit=False) else ".")
    decimals = decimal_columns(cells, explicit=True) if mark == "," else frozenset()
    if decimals and options.decimal is None:
        notes.append(f"{file.name}: numbers have a decimal comma (--reader.decimal ',')")
    return Dialect(
        delimiter=delimiter,
        encoding=encoding,
        skip=skip,
        header=options.header,
        comment=options.comment,
        escape=options.escape,
        quotes=options.quotes,
        unnamed_first=first,
        unnamed_last=last,
        decimal_columns=decimals,
        preamble=_preamble(rows) if options.header else 0,
        notes=tuple(notes),
    )


def check_options(options: DialectOptions) -> None:
    """Refuse options by which no file can be read.

    Raises:
        BadInput: a mark is none that may stand between cells, or the encoding is none of text.
    """
    for name, mark in (("delimiter", options.delimiter), ("escape", options.escape)):
        if mark is not None and (not mark.isascii() or mark in '\0\r\n"'):
            raise _refusal(name, "one ASCII letter that is neither a quote nor a line break", repr(mark))
    if options.delimiter is not None and options.delimiter == options.escape:
        raise _refusal("escape", "another letter than the delimiter", f"{options.escape!r} for both")
    if options.encoding is not None:
        try:
            # What turns text into text or bytes into bytes (rot13, base64) has a name among the encodings too.
            io.TextIOWrapper(io.BytesIO(), encoding=options.encoding)
        except (LookupError, ValueError) as error:
            raise _refusal("encoding", _TEXT, str(error)) from error
        if codecs.lookup(options.encoding).name in ("idna", "punycode"):
            raise _refusal("encoding", _TEXT, f"{options.encoding}, of names of domains")


def _refusal(option: str, expected: str, got: str) -> BadInput:
    return BadInput(where=f"option reader.{option}", expected=expected, got=got, do=f"Correct --reader.{option}.")


def delimiter_of(
    lines: Sequence[str], usual: str, label: str | None = None, options: DialectOptions = DialectOptions()
) -> str:
    """What separates the cells of lines: the usual, unless another splits them better.

    Args:
        lines: the first ones, the header before all.
        usual: the delimiter that the file's name promises.
        label: a name that is to be expected in the header.
        options: what was said about quotes.
    """

    def score(delimiter: str) -> tuple[bool, bool, bool, float, int]:
        rows = _cells(lines, delimiter, options)
        if not rows or len(rows[0]) < 2:
            return False, False, False, 0.0, 0
        cells = len(rows[0])
        alike = sum(len(row) == cells for row in rows) / len(rows)
        named = label in [name.strip() for name in rows[0]]
        return named, alike >= _ALIKE, delimiter == usual, alike, cells

    best = max(dict.fromkeys((usual, *_DELIMITERS)), key=score)
    return best if score(best)[1] else usual


def decimal_columns(rows: Sequence[Sequence[str]], *, explicit: bool) -> frozenset[int]:
    """The positions of columns whose numbers have a decimal comma.

    Args:
        rows: cells, without the header.
        explicit: whether an option says so: then every column counts in which no number is written otherwise; else
            one that mostly holds numbers, some with a comma.
    """
    columns = []
    for position in range(max(map(len, rows), default=0)):
        cells = [row[position].strip() for row in rows if position < len(row) and row[position].strip()]
        fits = sum(_COMMA_NUMBER.fullmatch(cell) is not None for cell in cells)
        numbers = sum(bool(_COMMA_NUMBER.fullmatch(cell) or _POINT_NUMBER.fullmatch(cell)) for cell in cells)
        if fits == numbers and (explicit or (2 * fits > len(cells) and any("," in cell for cell in cells))):
            columns.append(position)
    return frozenset(columns)


def _head(file: Path) -> tuple[bytes, bool]:
    """The first bytes, two lines of them at least, and whether those are all."""
    with open_bytes(file) as stream:
        head = _read(stream, _HEAD)
        while head.count(b"\n") < 2 and len(head) < _LARGEST_HEAD:
            more = _read(stream, len(head) or 1)
            if not more:
                return head, True
            head += more
        return head, not stream.read(1)


def _read(stream: IO[bytes], size: int) -> bytes:
    data = b""
    while len(data) < size and (more := stream.read(size - len(data))):
        data += more
    return data


def _lines(head: bytes, encoding: str, *, ended: bool) -> list[str]:
    text = codecs.getincrementaldecoder(encoding)(errors="replace").decode(head, final=ended)
    lines = list(io.StringIO(text, newline=""))  # a line of text may hold what Unicode takes for its end
    return lines if ended or len(lines) < 2 else lines[:-1]


def _cells(lines: Sequence[str], delimiter: str, options: DialectOptions) -> list[list[str]]:
    text = (line.removeprefix("\ufeff").replace("\0", "") for line in lines)
    try:
        quoting = csv.QUOTE_MINIMAL if options.quotes else csv.QUOTE_NONE
        reader = csv.reader(text, delimiter=delimiter, escapechar=options.escape, quoting=quoting)
        return [row for row in islice(reader, _ROWS) if row]
    except csv.Error:
        return []


def _unnamed(rows: list[list[str]]) -> tuple[bool, int]:
    """Cells that every row has beside those that the header names: one before them, or empty ones after them."""
    lengths = {len(row) for row in rows[1:]}
    if len(lengths) != 1:
        return False, 0
    more = lengths.pop() - len(rows[0])
    if more <= 0:
        return False, 0 if any(map(str.strip, rows[0][more:])) else more
    if not any(cell.strip() for row in rows[1:] for cell in row[-more:]):
        return False, more
    return more == 1, 0


def _preamble(rows: list[list[str]]) -> int:
    """How many rows stand before the first one that has as many cells as most, where that is not the first."""
    if len(rows) < 3:
        return 0
    most, count = Counter(map(len, rows)).most_common(1)[0]
    first = next(place for place, row in enumerate(rows) if len(row) == most)
    return first if most > 1 and 2 * count > len(rows) and len(rows[0]) < most else 0
