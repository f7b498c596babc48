"""A sheet is read as the CSV file that it could have been saved as; what a sheet alone can have is told or refused."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tasks.core.errors import BadConfig, BadInput, GradsieveError
from tasks.dataset.payload import payload_of
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.excel import Excel

HEADER = ["width", "height", "species"]
ROWS = [[i / 4, i, "iris" if i % 2 else "rose"] for i in range(24)]
NAMESPACE = "urn:oasis:names:tc:opendocument:xmlns:"


@pytest.fixture
def openpyxl():
    pytest.importorskip("python_calamine", reason="needs pip install -e '.[excel]'")
    return pytest.importorskip("openpyxl")


@pytest.fixture
def save(openpyxl, tmp_path):
    """Save sheets, each a list of rows by its name."""

    def write(sheets: dict[str, list[list]], change: Callable[[Any], object] = id) -> Path:
        book = openpyxl.Workbook()
        book.remove(book.active)
        for title, rows in sheets.items():
            sheet = book.create_sheet(title)
            for row in rows:
                sheet.append(row)
        change(book)
        book.save(tmp_path / "plants.xlsx")
        return tmp_path / "plants.xlsx"

    return write


def _cells(path: Path, **options: object) -> dict[str, list[str]]:
    (batch,) = Excel(path=path, **options).batches(path)
    return batch.table.to_pydict()


def _refused(path: Path, **options: object) -> BadInput:
    with pytest.raises(BadInput) as caught:
        list(Excel(path=path, **options).batches(path))
    return caught.value


def test_a_sheet_and_its_csv_are_the_same_samples(read, save, tmp_path):
    sheet = read(Excel(path=save({"Plants": [HEADER, *ROWS]}), label="species"))
    lines = [",".join(map(str, row)) for row in [HEADER, *ROWS]]
    (tmp_path / "plants.csv").write_text("\n".join(lines) + "\n")
    text = read(Csv(path=tmp_path / "plants.csv", label="species"))
    for name in ("sample_id", "row", "label", "width", "height", "split"):
        assert sheet.column(name) == text.column(name)
    assert payload_of(sheet.artefact) == payload_of(text.artefact)


def test_cells_are_text_as_in_csv(save):
    row = [1, 0.1, -0.0, 1e300, True, False, date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5), time(6, 7), "007", " x "]
    path = save({"Plants": [[f"c{i}" for i in range(len(row))], row]})
    values = [value for (value,) in _cells(path).values()]
    dates = ["2026-01-02", "2026-01-02 03:04:05", "06:07:00"]
    assert values[:2] == ["1", "0.1"]
    assert [float(value) for value in values[2:4]] == [0, 1e300]
    assert values[4:] == ["TRUE", "FALSE", *dates, "007", " x "]


def test_an_error_is_a_missing_value_and_a_formula_its_last_value(save, tmp_path):
    def change(book):
        book.active["A2"] = "#N/A"
        book.active["B2"] = "=1+2"

    path = save({"Plants": [["a", "b"], [0, 0], [1, 2]]}, change=change)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    sheet = "xl/worksheets/sheet1.xml"
    # What Excel itself adds when it saves.
    assert b"<f>1+2</f><v />" in parts[sheet]
    parts[sheet] = parts[sheet].replace(b"<f>1+2</f><v />", b"<f>1+2</f><v>3</v>")
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    assert _cells(path) == {"a": ["", "1"], "b": ["3", "2"]}


def test_blank_rows_and_columns_are_no_samples_and_rows_keep_their_numbers(save):
    def change(book):
        for cell in ("A30", "H2", "J1"):
            book.active[cell].number_format = "0.00"

    rows = [[], [None, "a", None, "label"], [None, 1, None, "x"], [], ["", " "], [None, 2, None, "y"], [], []]
    path = save({"Plants": rows}, change=change)
    (batch,) = Excel(path=path).batches(path)
    assert batch.table.to_pydict() == {"a": ["1", "2"], "label": ["x", "y"]}
    assert batch.rows.tolist() == [0, 3]


def test_an_error_among_the_inputs_is_a_missing_value(read, save):
    rows = [row[:] for row in ROWS]
    rows[3][0], rows[5][2] = "#DIV/0!", None
    ingested = read(Excel(path=save({"Plants": [HEADER, *rows]}), label="species"))
    assert ingested.reasons == {5: "missing label"}
    assert ingested.column(HEADER[0])[3] is None


def test_the_only_sheet_that_holds_anything_is_read(save):
    path = save({"Cover": [], "Plants": [["a"], [1]], "Sheet3": [[None, " "]]})
    assert _cells(path) == {"a": ["1"]}


def test_several_sheets_are_asked_about_and_one_is_named(save):
    def change(book):
        book["Lists"].sheet_state = "hidden"

    path = save({"2026 plants": [["a"], [1]], "Notes": [["b"], [2]], "Lists": [["c"], [3]]}, change=change)
    error = _refused(path)
    assert error.got == "3 that do: '2026 plants', 'Notes', 'Lists' (hidden)"
    assert error.do == "Name the one to read: --reader.sheet '2026 plants'"
    assert _cells(path, sheet="Notes") == {"b": ["2"]}
    assert _refused(path, sheet="notes").do == "Did you mean --reader.sheet Notes?"


def test_an_empty_workbook_is_refused(save):
    path = save({"Plants": [], "Notes": []})
    assert _refused(path).got == "nothing in 'Plants', 'Notes'"
    assert _refused(path, sheet="Plants").got == "an empty sheet"


def test_one_column_without_a_name_is_told_as_in_csv(read, save):
    rows = [[i, row[0], i * i, *row[2:]] for i, row in enumerate(ROWS)]
    ingested = read(Excel(path=save({"Plants": [["", *HEADER], *rows]}), label="species"))
    assert ingested.artefact.facts["unused"] == [{"column": "", "reason": "a row number by its name"}]
    assert payload_of(ingested.artefact).columns == ("width", "height")


@pytest.mark.parametrize(
    ("above", "got"),
    [
        ([["size", "", "species"]], "A 'size', B '', merged cells"),
        ([["Plants of 2026"], HEADER], "B '', C ''"),
        ([["width", "width", "species"]], "A 'width', B 'width'"),
    ],
    ids=["merged", "title", "twice"],
)
def test_a_header_without_a_name_for_each_column_is_refused(save, above, got):
    path = save({"P": [*above, *ROWS]}, change=lambda book: book.active.merge_cells("A1:B1") if "merged" in got else 0)
    error = _refused(path)
    assert error.where == f"{path}, sheet 'P', row 1"
    assert error.got == got
    assert "title" in error.do


def _as_open_document(path: Path, rows: list[list]) -> None:
    def cell(value: object) -> str:
        said = 'office:value-type="string"'
        if not isinstance(value, str):
            said = f'office:value-type="float" office:value="{value}"'
        return f"<table:table-cell {said}><text:p>{value}</text:p></table:table-cell>"

    lines = "".join(f"<table:table-row>{''.join(map(cell, row))}</table:table-row>" for row in rows)
    # As LibreOffice fills a sheet up to its end.
    blank = '<table:table-cell table:number-columns-repeated="1000"/>'
    rest = f'<table:table-row table:number-rows-repeated="1048000">{blank}</table:table-row>'
    spaces = " ".join(f'xmlns:{name}="{NAMESPACE}{name}:1.0"' for name in ("office", "table", "text"))
    kind = "application/vnd.oasis.opendocument.spreadsheet"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mimetype", kind)
        archive.writestr(
            "META-INF/manifest.xml",
            f'<manifest:manifest xmlns:manifest="{NAMESPACE}manifest:1.0">'
            f'<manifest:file-entry manifest:full-path="/" manifest:media-type="{kind}"/></manifest:manifest>',
        )
        archive.writestr(
            "content.xml",
            f"<office:document-content {spaces}><office:body><office:spreadsheet>"
            f'<table:table table:name="Plants">{lines}{rest}</table:table>'
            "</office:spreadsheet></office:body></office:document-content>",
        )


def test_an_open_document_is_read_alike(openpyxl, save, tmp_path):
    _as_open_document(tmp_path / "plants.ods", [HEADER, *ROWS])
    assert _cells(tmp_path / "plants.ods") == _cells(save({"Plants": [HEADER, *ROWS]}))


def test_what_is_no_workbook_is_refused(openpyxl, tmp_path):
    (tmp_path / "a.xls").write_text("<html><table><tr><td>a</td></tr></table></html>")
    error = _refused(tmp_path / "a.xls")
    assert ".xlsx" in error.expected
    assert "save it again" in error.do


few = settings(max_examples=25, deadline=None, database=None, phases=[Phase.explicit, Phase.generate])
CHANGES = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 20), st.binary(max_size=4)), min_size=1, max_size=3)


def test_an_altered_sheet_raises_only_our_errors(save):
    path = save({"Plants": [HEADER, *ROWS]})
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}

    @few
    @given(st.sampled_from([name for name in parts if name.startswith("xl/")]), CHANGES)
    def damage(name, changes):
        content = bytearray(parts[name])
        for at, length, instead in changes:
            start = at % max(len(content), 1)
            content[start : start + length] = instead
        with zipfile.ZipFile(path, "w") as archive:
            for other, whole in parts.items():
                archive.writestr(other, bytes(content) if other == name else whole)
        try:
            list(Excel(path=path).batches(path))
        except GradsieveError:
            return

    damage()


def test_without_the_extra_the_error_says_how_to_get_it(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    (tmp_path / "a.xlsx").write_bytes(b"PK")
    with pytest.raises(BadConfig) as caught:
        Excel(path=tmp_path / "a.xlsx").open()
    assert "pip install -e '.[excel]'" in caught.value.do


@pytest.mark.parametrize(
    "far", ['<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>', '<row r="1048576"><c/><c><v>1</v></c></row>']
)
def test_a_cell_far_away_is_refused_before_memory_is_asked_for_all_between(save, far):
    wide = [f"column {i}" for i in range(200)]
    path = _with_rows(save({"a": [wide, [1] * 200]}), far)
    assert "Delete what stands far away" in _refused(path).do


def test_a_sheet_of_which_nobody_can_say_how_far_it_reaches_is_refused(save):
    path = _with_rows(save({"a": [HEADER, *ROWS]}), '<a></b><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>')
    assert _refused(path).expected == "a sheet of well-formed XML"


def test_cells_far_away_that_hold_nothing_are_none(save):
    path = _with_rows(save({"a": [HEADER, *ROWS]}), '<row r="1048576"><c r="XFD1048576" s="0"/></row>')
    assert len(_cells(path)["species"]) == len(ROWS)


def _with_rows(path: Path, rows: str) -> Path:
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data.replace(b"</sheetData>", f"{rows}</sheetData>".encode()))
    return path
