"""What separates the cells of a CSV file is told by its name, and a quote that nobody closes breaks it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from tasks.core.errors import BadInput
from tasks.dataset.payload import payload_of
from tasks.ingestion.quotes import open_quote
from tasks.ingestion.readers.csv import Csv

N = 24


def _text(delimiter: str = ",") -> str:
    rows = [["a", "b", "label"], *([str(i), str(i / 2), "xy"[i % 2]] for i in range(N))]
    return "".join(delimiter.join(row) + "\n" for row in rows)


def _columns(read, path: Path, **options: object) -> tuple[str, ...]:
    return payload_of(read(Csv(path=path, **options)).artefact).columns


@pytest.mark.parametrize("name", ["a.tsv", "a.tab", "a.TSV"])
def test_a_file_named_for_its_tabs_is_read_by_them(read, tmp_path, name):
    (tmp_path / name).write_text(_text("\t"))
    assert _columns(read, tmp_path / name) == ("a", "b")


@pytest.mark.parametrize("pack", ["gzip", "bz2", "zstd"])
def test_a_compressed_file_is_named_by_what_is_in_it(read, tmp_path, pack):
    path = tmp_path / f"a.tsv{ {'gzip': '.gz', 'bz2': '.bz2', 'zstd': '.zst'}[pack] }"
    with pa.output_stream(str(path), compression=pack) as file:
        file.write(_text("\t").encode())
    assert _columns(read, path) == ("a", "b")


def test_a_folder_may_hold_both(read, tmp_path):
    (tmp_path / "both").mkdir()
    (tmp_path / "both" / "1.csv").write_text(_text())
    (tmp_path / "both" / "2.tsv").write_text(_text("\t"))
    assert read(Csv(path=tmp_path / "both")).samples.num_rows == 2 * N


def test_the_option_overrides_the_name(read, tmp_path):
    (tmp_path / "a.tsv").write_text(_text(";"))
    assert _columns(read, tmp_path / "a.tsv", delimiter=";") == ("a", "b")
    (tmp_path / "b.tsv").write_text(_text())
    assert _columns(read, tmp_path / "b.tsv", delimiter=",") == ("a", "b")


@pytest.mark.parametrize("typed", [r"\t", "tab", "\t"])
def test_a_tab_may_be_typed_as_in_a_shell(read, tmp_path, typed):
    (tmp_path / "a.txt").write_text(_text("\t"))
    assert _columns(read, tmp_path / "a.txt", delimiter=typed) == ("a", "b")


@pytest.mark.parametrize("typed", ["", ";;", r"\n"])
def test_anything_else_is_one_character(typed):
    with pytest.raises(ValidationError):
        Csv(path=Path("a.csv"), delimiter=typed)


# ---- quotes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzipped"])
@pytest.mark.parametrize("row", ['7,3.5,"x', '7,"3.5,x', '"7,3.5,x'], ids=["last cell", "middle", "first cell"])
def test_a_quote_that_is_open_at_the_end_is_refused_with_its_line(read, tmp_path, row, packed):
    lines = _text().splitlines()
    lines[8] = row
    content = ("\n".join(lines) + "\n").encode()
    path = tmp_path / ("a.csv.gz" if packed else "a.csv")
    path.write_bytes(gzip.compress(content) if packed else content)
    with pytest.raises(BadInput) as caught:
        read(Csv(path=path))
    assert caught.value.where == f"{path}, line 9"
    assert caught.value.got == f"a quote that is still open at the end of the file, line {N + 1}"
    assert "Close it" in caught.value.do


def test_the_quote_is_found_in_another_encoding_and_beside_another_delimiter(read, tmp_path):
    (tmp_path / "a.tsv").write_bytes((_text("\t") + '1\t2\t"é').encode("utf-16"))
    with pytest.raises(BadInput) as caught:
        read(Csv(path=tmp_path / "a.tsv", encoding="utf-16"))
    assert caught.value.where.endswith(f"line {N + 2}")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('a,b\n1,"x"\n', 0),
        ('a,b\n1,"x\ny"\n', 0),
        ('a,b\n1,"say ""so"""\n', 0),
        ('a,b\n1,""\n"",2\n', 0),
        ('a,b\n1,5" wide\n', 0),
        ('a,b\n1, "x\n', 0),
        ('a,b\n1,"x"y"\n', 0),
        ('"a",b\n1,x\n', 0),
        ('\ufeff"a",b\n1,x\n', 0),
        ("", 0),
        ('a,b\n1,"x', 2),
        ('a,b\n1,"x""\n', 2),
        ('a,b\n1,"""x\n', 2),
        ('a,b\n"x\ny","z\n', 3),
        ('"a,b\n1,x\n', 1),
        ('\ufeff"a,b\n1,x\n', 1),
        ('a,b\n1,"x\n\n\n', 2),
    ],
)
def test_quotes_open_where_a_cell_begins_and_two_are_one(text, line):
    assert open_quote(text.splitlines(keepends=True), ",")[0] == line


@pytest.mark.parametrize("delimiter", ["|", "\t", ".", "^"])
def test_a_delimiter_is_no_pattern(delimiter):
    assert open_quote([f'1{delimiter}"x'], delimiter)[:2] == (1, 1)
    assert open_quote(['12"x'], delimiter)[:2] == (0, 1)
