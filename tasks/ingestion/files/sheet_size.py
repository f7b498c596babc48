"""How far a workbook's sheets reach: looked at before a library makes room for every cell between their corners."""

from __future__ import annotations

import lzma
import re
import struct
import zipfile
import zlib
from contextlib import suppress
from pathlib import Path
from typing import IO
from xml.parsers.expat import ExpatError, ParserCreate

from tasks.core.errors import BadInput

# calamine takes 32 bytes of each, and ends the process where memory has no room for them.
_MOST_CELLS = 1 << 27
_PLACE = re.compile(r"([A-Za-z]+)([0-9]+)")
_BLOCK = 1 << 16
# Damaged, locked or packed in another way: the library says so in its words.
_UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    OSError,
    EOFError,
    RuntimeError,
    ValueError,
)
_SHEET = b"sheetData"


def check_sheets(file: Path) -> None:
    """Look how far the sheets of a workbook of XML reach (.xlsx, .xlsm); a file that is none is left to its library.

    Raises:
        BadInput: the cells that hold anything lie so far apart that no memory holds all between them; or a sheet is no
            XML, and nobody can say how far it reaches.
    """
    try:
        archive = zipfile.ZipFile(file)
    except _UNREADABLE:
        return
    with archive:
        for member in archive.namelist():
            reach = _Reach()
            with suppress(*_UNREADABLE), archive.open(member) as content:
                reach.read(content)
            if reach.is_broken_sheet:
                raise BadInput(
                    where=f"{file}, {member}",
                    expected="a sheet of well-formed XML",
                    got="another text",
                    do="Open it in Excel or LibreOffice and save it again, or as CSV.",
                )
            if reach.cells > _MOST_CELLS:
                raise BadInput(
                    where=f"{file}, {member}",
                    expected=f"a table of at most {_MOST_CELLS:,} cells, those that are empty too",
                    got=f"{reach.cells:,} from the first to the last row and column that hold anything",
                    do="Delete what stands far away from the table, or save the sheet as CSV.",
                )


class _Reach:
    """The corners of the cells that hold anything."""

    def __init__(self) -> None:
        self.row, self.column = 0, 0
        self.rows: tuple[int, int] | None = None
        self.columns: tuple[int, int] = (0, 0)
        self.is_broken_sheet = False

    @property
    def cells(self) -> int:
        """How many lie between the corners."""
        if self.rows is None:
            return 0
        return (self.rows[1] - self.rows[0] + 1) * (self.columns[1] - self.columns[0] + 1)

    def read(self, content: IO[bytes]) -> None:
        """Look at all cells of a sheet; of another file at none."""
        parser = ParserCreate()
        parser.StartElementHandler = self._begin
        is_sheet, is_broken, tail = False, False, b""
        while block := content.read(_BLOCK):
            is_sheet = is_sheet or _SHEET in tail + block
            tail = block[-len(_SHEET) :]
            try:
                if not is_broken:
                    parser.Parse(block)
            except (ExpatError, ValueError, LookupError):
                # A picture, or text that libraries read on in all the same.
                is_broken = True
        self.is_broken_sheet = is_sheet and is_broken

    def _begin(self, name: str, attributes: dict[str, str]) -> None:
        kind = name.rpartition(":")[2]
        if kind == "c":
            place = _PLACE.fullmatch(attributes.get("r", ""))
            self.column = self.column + 1 if place is None else _number(place[1])
            self.row = self.row if place is None else int(place[2][:9])
        elif kind in ("v", "is"):
            low, high = self.rows or (self.row, self.row)
            left, right = self.columns if self.rows else (self.column, self.column)
            self.rows = min(low, self.row), max(high, self.row)
            self.columns = min(left, self.column), max(right, self.column)
        elif kind == "row":
            number = attributes.get("r", "")
            self.row, self.column = int(number[:9]) if number.isdecimal() else self.row + 1, 0


def _number(letters: str) -> int:
    """A column's place: A is 1, AA is 27."""
    number = 0
    for letter in letters[:7].upper():
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
