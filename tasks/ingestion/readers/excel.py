"""Sheets of workbooks, by calamine: a sheet is read as the CSV file that it could have been saved as."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import difflib
import shlex
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from tasks.core.errors import BadInput, require_package
from tasks.ingestion.files.sheet_size import check_sheets
from tasks.ingestion.readers import CHUNK_BYTES, CHUNK_ROWS, files_below
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.tables.header_rows import without_header_rows
from tasks.ingestion.tables.table_rows import Batch

if TYPE_CHECKING:
    from python_calamine import CalamineSheet, CalamineWorkbook

# From there on not every integer is a float.
_EXACT = 2**53
# A float beyond it, with as many digits as it has.
_LONG = r"^-?(\d{16}\.0|\d\.\d{14,}e\+\d+)$"
_CUT = "a sheet keeps 15 digits of a number, and some here had more; keep ids as text"


class Excel(Tabular, kind="excel"):
    """A sheet of an Excel or OpenDocument workbook: a header, then rows; cells are text, as those of a CSV file are."""

    suffixes: ClassVar[tuple[str, ...]] = (".xlsx", ".xlsm", ".xls", ".ods")
    header: bool = Field(
        default=True, description="Whether the first row names the columns; else they are column_0, column_1 …"
    )
    skip_rows: int = Field(default=0, ge=0, description="Lines to skip before the header.")
    sheet: str | None = Field(default=None, description="Name of the sheet. Default: the only one that holds anything.")

    def batches(self, path: Path) -> Iterator[Batch]:
        """Batches of text columns. A formula is its last value; an error (#N/A …) is a missing value."""
        with require_package("python-calamine", "reader excel", "pip install -e '.[excel]', or save the sheet as CSV."):
            from python_calamine import CalamineError, CalamineWorkbook
        for file in files_below(path):
            check_sheets(file)
            try:
                with CalamineWorkbook.from_path(file) as workbook:
                    rows = _read(file, self._sheet_of(workbook, file), self.skip_rows, has_header=self.header)
                    yield from without_header_rows(rows, self.missing) if self.header else rows
            except (CalamineError, OSError) as error:
                raise BadInput(
                    where=str(file),
                    expected=f"a whole workbook ({', '.join(self.suffixes)}) without a password",
                    got=str(error).partition("\n")[0],
                    do="Open it in Excel or LibreOffice and save it again, without a password, or as CSV.",
                ) from error

    def _sheet_of(self, workbook: CalamineWorkbook, file: Path) -> CalamineSheet:
        names = workbook.sheet_names
        if self.sheet is not None:
            if self.sheet not in names:
                near = difflib.get_close_matches(self.sheet, names, n=1) or names[:1] or ["…"]
                raise BadInput(
                    where=f"{file}, option sheet",
                    expected=f"a sheet {self.sheet!r}",
                    got=_names(workbook, names),
                    do=f"Did you mean --reader.sheet {shlex.quote(near[0])}?",
                )
            return workbook.get_sheet_by_name(self.sheet)
        sheets = [workbook.get_sheet_by_name(name) for name in names]
        candidates = [sheet for sheet in sheets if next(_rows_with_content(sheet), None)]
        if len(candidates) != 1:
            some = [sheet.name for sheet in candidates]
            raise BadInput(
                where=f"{file}, option sheet",
                expected="the name of a sheet, or one sheet that holds anything",
                got=f"{len(some)} that do: {_names(workbook, some)}"
                if some
                else f"nothing in {_names(workbook, names)}",
                do=f"Name the one to read: --reader.sheet {shlex.quote(some[0])}" if some else "Check the path.",
            )
        return candidates[0]


def _names(workbook: CalamineWorkbook, names: list[str]) -> str:
    from python_calamine import SheetVisibleEnum

    invisible = {sheet.name for sheet in workbook.sheets_metadata if sheet.visible != SheetVisibleEnum.Visible}
    return ", ".join(f"{name!r} (hidden)" if name in invisible else repr(name) for name in names) or "no sheet"


def _read(file: Path, sheet: CalamineSheet, skip: int, *, has_header: bool) -> Iterator[Batch]:
    """The rows that hold anything; their numbers count from 0 below the header, blank rows too."""
    rows = _rows_with_content(sheet, skip)
    if has_header:
        header, names = next(rows, (0, []))
    else:
        width = max((len(cells) for _, cells in _rows_with_content(sheet, skip)), default=0)
        header, names = skip - 1, [f"column_{position}" for position in range(width)]
    columns = _columns(sheet, header, names, f"{file}, sheet {sheet.name!r}", skip)
    own = [names[column] for column in columns]
    for block in _blocks(rows):
        arrays = [pa.array([cells[column] for _, cells in block], pa.string()) for column in columns]
        numbers = np.array([number for number, _ in block], np.int64) - header - 1
        notes = tuple(f"{file.name}, column {own[i]}: {_CUT}" for i, array in enumerate(arrays) if _is_cut(array))
        yield Batch(file.name, pa.RecordBatch.from_arrays(arrays, names=own), numbers, notes=notes)


def _is_cut(column: pa.Array) -> bool:
    return bool(pc.any(pc.match_substring_regex(column, _LONG)).as_py())


def _blocks(rows: Iterable[tuple[int, list[str]]]) -> Iterator[list[tuple[int, list[str]]]]:
    """Consecutive rows, as many as one chunk takes; an empty one where there are none."""
    block: list[tuple[int, list[str]]] = []
    is_first, weight = True, 0
    for row in rows:
        block.append(row)
        weight += sum(map(len, row[1]))
        if len(block) == CHUNK_ROWS or weight >= CHUNK_BYTES:
            yield block
            block, is_first, weight = [], False, 0
    if block or is_first:
        yield block


def _rows_with_content(sheet: CalamineSheet, skip: int = 0) -> Iterator[tuple[int, list[str]]]:
    """The rows that hold anything, as text, each with its place in the sheet; none of the first ``skip`` rows."""
    for number, row in enumerate(sheet.iter_rows()):
        if number < skip:
            continue
        cells = [_text(cell) for cell in row]
        if any(map(str.strip, cells)):
            yield number, cells


def _text(cell: Any) -> str:
    """As CSV has it: whole numbers without a point (a sheet knows floats alone), TRUE and FALSE, dates by ISO 8601."""
    if isinstance(cell, bool):
        return str(cell).upper()
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _EXACT:
        return f"{cell:.0f}"
    return str(cell)


def _columns(sheet: CalamineSheet, header: int, names: list[str], where: str, skip: int) -> list[int]:
    """The columns with a name or a value; one without a name may be what pandas numbers its rows by.

    Raises:
        BadInput: two of them bear one name, or one name stands over several.
    """
    with_content = {
        column for _, cells in _rows_with_content(sheet, skip) for column, cell in enumerate(cells) if cell.strip()
    }
    columns = sorted(with_content)
    first = sheet.start[1] if sheet.start else 0
    merge = {
        column - first
        for (top, left), (bottom, right) in sheet.merged_cell_ranges or []
        if top <= header <= bottom and len(with_content.intersection(range(left - first, right - first + 1))) > 1
        for column in range(left, right + 1)
    }
    own = [names[column] for column in columns]
    wrong = [column for column in columns if own.count(names[column]) > 1 or column in merge]
    if wrong or not columns:
        description = ", ".join(f"{_letters(first + column)} {names[column]!r}" for column in wrong[:8])
        raise BadInput(
            where=f"{where}, row {header + 1}" if wrong else where,
            expected="a header with a name of its own for each column",
            got=f"{description}{' …' * (len(wrong) > 8)}{', merged cells' * bool(merge)}"
            if wrong
            else "an empty sheet",
            do="The first row that holds anything is the header: name each column in it, without merged cells, and "
            "skip a title above it: --reader.skip-rows 1.",
        )
    return columns


def _letters(column: int) -> str:
    """A column's name in the sheet: A, B, … Z, AA."""
    return (_letters(column // 26 - 1) if column >= 26 else "") + chr(ord("A") + column % 26)
