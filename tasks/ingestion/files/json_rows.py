"""Rows of a JSON file: one object a line, the elements of one array, or objects one after another over many lines."""

from __future__ import annotations

import codecs
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, AnyStr

from tasks.core.errors import BadInput
from tasks.ingestion.files.bounded_lines import bounded_lines
from tasks.ingestion.files.compression import open_bytes
from tasks.ingestion.readers import Reject

_DECODER = json.JSONDecoder()
_BLOCK = 1 << 20
# Characters of one element; what is longer is no row.
_LARGEST = 1 << 28
# How near the end of a piece an error may lie that is none once more of the text is there.
_CUT = 16
_SPACE = " \t\r\n"
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

Row = tuple[int, dict[str, Any] | Reject]


def rows_of(file: Path) -> Iterator[Row]:
    """The rows of a file, each with its number: of its line, or of the element; one that is no object is rejected.

    Args:
        file: it may be compressed.

    Raises:
        BadInput: an array, or an object over many lines, breaks in the middle: nothing says where the next one begins.
    """
    with open_bytes(file) as stream:
        head = stream.read(4)
    encoding = next((name for bom, name in _BOMS if head.startswith(bom)), "utf-8-sig")
    first = next((line for line in _lines(file, encoding) if line.strip()), b"").removeprefix(codecs.BOM_UTF8).strip()
    # An object that begins on a line of its own has its fields on the next ones.
    if first == b"{" or (first.startswith(b"[") and not _is_whole(first)):
        return _elements(file, encoding)
    if first.startswith(b"[") and first not in (b"[", b"[]"):
        return _elements(file, encoding)
    return _from_lines(_lines(file, encoding))


def _is_whole(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def is_json(text: str) -> bool:
    """Whether a text is one JSON value, as DuckDB reads it: of Unicode, and no deeper than Python follows."""
    try:
        value = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        return False
    return True


# ---- lines -------------------------------------------------------------------------------------------------------


def _lines(file: Path, encoding: str) -> Iterator[bytes]:
    with open_bytes(file) as stream:
        if encoding == "utf-8-sig":
            yield from _bounded(stream, file)
        else:
            yield from (line.encode() for line in _bounded(io.TextIOWrapper(stream, encoding=encoding), file))


def _bounded(stream: IO[AnyStr], file: Path) -> Iterator[AnyStr]:
    expected = f"lines of at most {_LARGEST >> 20} MiB"
    return bounded_lines(
        stream, file, _LARGEST, expected, "Write one object a line; of an array of objects: jq -c '.[]'."
    )


def _from_lines(lines: Iterator[bytes]) -> Iterator[Row]:
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            if b"\\ud" in line.lower() or b"\xed" in line:
                json.dumps(item, ensure_ascii=False).encode()  # half a surrogate pair is no text
        except (ValueError, RecursionError) as error:
            yield number, Reject(number, "malformed line", f"{error}: {line[:80]!r}")
            continue
        if isinstance(item, dict):
            yield number, item
        else:
            yield number, Reject(number, "malformed line", f"a {type(item).__name__}, not an object: {line[:80]!r}")


# ---- elements ----------------------------------------------------------------------------------------------------


class _Text:
    """A text of JSON values, read piece by piece; what is held is a piece, or one value."""

    def __init__(self, stream: IO[str], file: Path) -> None:
        self.stream, self.file = stream, file
        self.buffer, self.at, self.line = "", 0, 1

    def more(self) -> bool:
        """Read on, each time as much as is held, so that a large value is not parsed anew many times."""
        self.line += self.buffer.count("\n", 0, self.at)
        piece = self.stream.read(max(_BLOCK, len(self.buffer) - self.at))
        self.buffer, self.at = self.buffer[self.at :] + piece, 0
        return bool(piece)

    def peek(self) -> str:
        """The next character that is no white space; none at the end."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in _SPACE:
                self.at += 1
            if self.at < len(self.buffer):
                return self.buffer[self.at]
            if not self.more():
                return ""

    def value(self) -> tuple[Any, bool]:
        """The next value, and whether it may hold half a surrogate pair, which is no text."""
        while True:
            try:
                value, end = _DECODER.raw_decode(self.buffer, self.at)
            except ValueError as error:
                position = getattr(error, "pos", len(self.buffer))
                may_go_on = str(error).startswith("Unterminated string") or position > len(self.buffer) - _CUT
                if not may_go_on or len(self.buffer) - self.at > _LARGEST or not self.more():
                    raise self.broken(str(error).partition(": line")[0], position) from error
                continue
            except RecursionError as error:
                raise self.broken("a value too deep within others", self.at) from error
            if end == len(self.buffer) and self.more():
                continue  # the next piece may go on with a number
            escapes = self.buffer.find("\\u", self.at, end) >= 0
            self.at = end
            return value, escapes

    def broken(self, what: str, position: int) -> BadInput:
        """The text is no JSON there."""
        line = self.line + self.buffer.count("\n", 0, position)
        return BadInput(
            where=f"{self.file}, line {line:,}",
            expected="an array of objects, or objects one after another",
            got=what,
            do="Correct it there. With one object a line a broken line is rejected by itself: jq -c '.[]' makes it so.",
        )


def _elements(file: Path, encoding: str) -> Iterator[Row]:
    with io.TextIOWrapper(open_bytes(file), encoding=encoding, newline="") as stream:
        text = _Text(stream, file)
        is_array = text.peek() == "["
        text.at += is_array
        number = 0
        while (mark := text.peek()) not in ("", "]" if is_array else ""):
            item, escapes = text.value()
            yield number, _object(number, item, escapes=escapes)
            number += 1
            mark = text.peek()
            if is_array and mark == ",":
                text.at += 1
            elif is_array and mark != "]":
                raise text.broken(f"{mark!r} after element {number:,}" if mark else "the end of the file", text.at)
        if is_array:
            if mark != "]":
                raise text.broken("the end of the file", text.at)
            text.at += 1
            if text.peek():
                raise text.broken("more after the array's end", text.at)


def _object(number: int, item: Any, *, escapes: bool) -> dict[str, Any] | Reject:
    if not isinstance(item, dict):
        return Reject(number, "malformed element", f"a {type(item).__name__}, not an object: {str(item)[:80]!r}")
    try:
        if escapes:
            json.dumps(item, ensure_ascii=False).encode()
    except ValueError as error:
        return Reject(number, "malformed element", f"{error}: {str(item)[:80]!r}")
    return item
