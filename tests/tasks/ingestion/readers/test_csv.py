"""What separates the cells of a CSV file is told by its name, and a quote that nobody closes breaks it."""

from __future__ import annotations

import gzip
from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from tasks.core.errors import BadInput
from tasks.dataset.payload import payload_of
from tasks.ingestion.files.quotes import open_quote
from tasks.ingestion.readers.csv import Csv

N = 24


def _text(delimiter: str = ",") -> str:
    rows = [["a", "b", "label"], *([str(i * i), str(i / 2), "xy"[i % 2]] for i in range(N))]
    return "".join(delimiter.join(row) + "\n" for row in rows)


def _columns(read, path: Path, **options: object) -> tuple[str, ...]:
    return payload_of(read(Csv(path=path, **{"features": ["a", "b"]} | options)).artefact).columns


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


@pytest.mark.parametrize("row", ['7,3.5,"x', '7,"3.5,x', '"7,3.5,x'], ids=["last cell", "middle", "first cell"])
def test_a_quote_that_another_cells_quote_ends_is_refused_with_both_lines(read, tmp_path, row):
    lines = _text().splitlines()
    lines[8] = row
    lines[15] = '14,7.0,"x"'
    (tmp_path / "a.csv").write_text("\n".join(lines))
    with pytest.raises(BadInput) as caught:
        read(Csv(path=tmp_path / "a.csv"))
    assert caught.value.where == f"{tmp_path / 'a.csv'}, line 9"
    assert "before line 16" in caught.value.got


def test_a_cell_of_many_lines_is_one_cell(read, tmp_path):
    text = _text().replace("9,1.5,y", '9,1.5,"y\nof\n""many"", lines" ')
    (tmp_path / "a.csv").write_text(text)
    assert read(Csv(path=tmp_path / "a.csv")).reasons == {3: "class seen once"}


# ---- dialects ----------------------------------------------------------------------------------------------------


def _notes(ingested) -> str:
    return " ".join(ingested.artefact.facts.get("notes", []))


@pytest.mark.parametrize("delimiter", [";", "|", "\t"])
def test_another_delimiter_is_seen_and_told(read, tmp_path, delimiter):
    (tmp_path / "a.csv").write_text(_text(delimiter))
    ingested = read(Csv(path=tmp_path / "a.csv", features=["a", "b"]))
    assert payload_of(ingested.artefact).columns == ("a", "b")
    assert "separates the cells (--reader.delimiter" in _notes(ingested)


@pytest.mark.parametrize("options", [{}, {"decimal": ","}, {"delimiter": ";"}])
def test_a_decimal_comma_is_a_point(read, tmp_path, options):
    (tmp_path / "a.csv").write_text(_text(";").replace(".", ",").replace("529;", "1.529;"))
    ingested = read(Csv(path=tmp_path / "a.csv", **options))
    assert ingested.column("b")[:3] == [0.0, 0.5, 1.0]
    assert ingested.column("a")[-1] == 1529.0
    assert ("--reader.decimal ','" in _notes(ingested)) == ("decimal" not in options)


def test_thousands_may_be_parted_by_spaces(read, tmp_path):
    rows = [f"1{space}2{i:02},5;{'xy'[i % 2]}\n" for i in range(N) for space in (" ", "\u00a0", "\u202f")]
    (tmp_path / "a.csv").write_text("a;label\n" + "".join(rows))
    assert read(Csv(path=tmp_path / "a.csv")).column("a")[:4] == [1200.5, 1200.5, 1200.5, 1201.5]


def test_quotes_may_be_characters_like_any_other(read, tmp_path):
    (tmp_path / "a.tsv").write_text("text\tlabel\n" + "".join(f'"{i} open\t{"xy"[i % 2]}\n' for i in range(N)))
    ingested = read(Csv(path=tmp_path / "a.tsv", text="text", quotes=False))
    assert ingested.column("text")[3] == '"3 open'
    with pytest.raises(BadInput, match=r"--reader.quotes false"):
        read(Csv(path=tmp_path / "a.tsv", text="text"))


def test_labels_and_texts_with_a_comma_stay_as_they_are(read, tmp_path):
    rows = [f"{i},5;{'3,5' if i % 2 else '4,5'};{i},25\n" for i in range(N)]
    (tmp_path / "a.csv").write_text("a;label;name\n" + "".join(rows))
    ingested = read(Csv(path=tmp_path / "a.csv", id="name", label="label", features=["a"]))
    assert ingested.column("source_id")[2] == "2,25"
    assert ingested.artefact.facts["classes"] == ["3,5", "4,5"]


def test_lines_before_the_header_and_comments_are_skipped(read, tmp_path):
    lines = _text().splitlines(keepends=True)
    lines[5:5] = ["# a pause\n", "\n", '# a "quote\n']
    text = "# exported\nlab 3\n" + "".join(lines)
    for encoding in ("utf8", "utf-16"):
        (tmp_path / "a.csv").write_bytes(text.encode(encoding))
        ingested = read(Csv(path=tmp_path / "a.csv", comment="#", skip_rows=2))
        assert ingested.column("a") == [float(i * i) for i in range(N)]
        assert ingested.column("row") == list(range(N))


def test_a_comment_sign_within_a_cell_of_many_lines_is_text(read, tmp_path):
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(f'"{i}\n# and {i}",{"xy"[i % 2]}\n' for i in range(N)))
    assert read(Csv(path=tmp_path / "a.csv", text="text", comment="#")).column("text")[3] == "3\n# and 3"


def test_what_stands_before_the_header_is_named_with_the_option_that_skips_it(read, tmp_path):
    for first, words in (
        ("# lab 3", "--reader.comment '#', or --reader.skip-rows 1."),
        ("Lab 3", "--reader.skip-rows 1."),
    ):
        (tmp_path / "a.csv").write_text(f"{first}\n{_text()}")
        with pytest.raises(BadInput) as caught:
            read(Csv(path=tmp_path / "a.csv"))
        assert caught.value.do.endswith(words)


def test_without_a_header_columns_have_numbers(read, tmp_path):
    (tmp_path / "a.csv").write_text(_text().partition("\n")[2] + "1,2\n")
    ingested = read(Csv(path=tmp_path / "a.csv", header=False, label="column_2", features=["column_0", "column_1"]))
    assert payload_of(ingested.artefact).columns == ("column_0", "column_1")
    assert ingested.column("row") == list(range(N))
    assert ingested.reasons == {N: "ragged row"}


def test_quotes_may_be_escaped(read, tmp_path):
    rows = [f'"say \\"{i}\\", \\\\ or not",{"xy"[i % 2]}\n' for i in range(N)]
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(rows))
    assert read(Csv(path=tmp_path / "a.csv", text="text", escape="\\")).column("text")[3] == 'say "3", \\ or not'


@pytest.mark.parametrize("ends", [(",,", ",,"), (",,", ""), ("", ",,")], ids=["both", "header", "rows"])
def test_empty_columns_at_the_end_are_left_out(read, tmp_path, ends):
    header, *rows = _text().splitlines()
    (tmp_path / "a.csv").write_text("\n".join([header + ends[0], *(row + ends[1] for row in rows)]))
    ingested = read(Csv(path=tmp_path / "a.csv", features=["a", "b"]))
    assert ingested.samples.num_rows == N
    assert ingested.artefact.facts["unused"] == []
    assert ("2 empty columns at the end" in _notes(ingested)) == (ends[1] != "")


def test_a_column_without_a_name_that_is_not_empty_is_no_empty_one(read, tmp_path):
    text = _text().replace("label\n", "label,\n").replace("x\n", "x,\n").replace("y\n", "y,1\n")
    (tmp_path / "a.csv").write_text(text)
    assert [row["column"] for row in read(Csv(path=tmp_path / "a.csv")).artefact.facts["unused"]] == [""]
    late = "".join(f"{i * i},{i % 7},{'xy'[i % 2]},{'late' if i == 180_000 else ''}\n" for i in range(180_001))
    (tmp_path / "b.csv").write_text("a,b,label,\n" + late)
    with pytest.raises(BadInput, match=r"row 180,000 below the header.*'late'"):
        read(Csv(path=tmp_path / "b.csv"))


def test_row_names_before_the_others_have_no_name(read, tmp_path):
    header, *rows = _text().splitlines()
    (tmp_path / "a.csv").write_text("\n".join([header, *(f'"{i}",{row}' for i, row in enumerate(rows))]))
    ingested = read(Csv(path=tmp_path / "a.csv", features=["a", "b"]))
    assert ingested.column("b")[:3] == [0.0, 0.5, 1.0]
    assert "one cell more than the header" in _notes(ingested)


def test_a_name_may_hold_the_delimiter(read, tmp_path):
    (tmp_path / "a.csv").write_text(_text().replace("a,b", '"a, g","b, mm"', 1))
    ingested = read(Csv(path=tmp_path / "a.csv", features=["b, mm", "a, g"]))
    assert payload_of(ingested.artefact).columns == ("b, mm", "a, g")


def test_a_byte_order_mark_names_the_encoding(read, tmp_path):
    for encoding in ("utf-8-sig", "utf-16", "utf-32"):
        (tmp_path / "a.csv").write_bytes(_text().replace("x", "é").encode(encoding))
        assert read(Csv(path=tmp_path / "a.csv")).artefact.facts["classes"] == ["y", "é"]
