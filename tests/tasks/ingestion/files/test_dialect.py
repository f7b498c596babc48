"""What the first lines of a file say about how it is written."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.ingestion.files.dialect import DialectOptions, decimal_columns, delimiter_of, dialect_of

DELIMITERS = (",", ";", "\t", "|")


def _dialect(tmp_path, content, name="a.csv", **options):
    data = content if isinstance(content, bytes) else content.encode()
    (tmp_path / name).write_bytes(data)
    return dialect_of(tmp_path / name, DialectOptions(**options))


cells = st.text(st.characters(codec="utf-8", exclude_characters="\0\r\n\ufeff"), max_size=8)
words = st.text("abcdefgh", min_size=1, max_size=6)


@given(
    st.sampled_from(DELIMITERS),
    st.integers(2, 5).flatmap(
        lambda n: st.tuples(
            st.lists(words, min_size=n, max_size=n, unique=True),
            st.lists(st.lists(cells, min_size=n, max_size=n), min_size=1, max_size=8),
        )
    ),
)
def test_what_separates_names_without_punctuation_is_found_whatever_stands_in_the_rows(delimiter, table):
    names, rows = table
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([names, *rows])
    lines = list(io.StringIO(text.getvalue(), newline=""))
    assert delimiter_of(lines, ",", names[-1]) == delimiter
    assert delimiter_of(lines, "\t", names[-1]) == delimiter


@given(st.lists(st.text(",;\t|ab\"'\n", max_size=20), max_size=6), st.sampled_from(DELIMITERS))
def test_any_text_has_one_of_the_delimiters(lines, usual):
    assert delimiter_of(lines, usual) in DELIMITERS


@pytest.mark.parametrize(
    ("lines", "label", "delimiter"),
    [
        (["a,b,label\n", "1,2,x\n"], "label", ","),
        (["a;b;label\n", "1,5;2,5;x\n"], "label", ";"),
        (["weight, g;length, mm;label\n", "1,5;2,5;x\n"], "label", ";"),
        (["text,label\n", "a; b; c,x\n"], "label", ","),
        (["text\tlabel\n", "a, b, c\tx\n"], "label", "\t"),
        (["a|b|label\n", "1|2|x\n"], "label", "|"),
        (["text\n", "a; b\n"], "text", ","),
        ([], "label", ","),
    ],
)
def test_the_usual_counts_unless_another_splits_better(lines, label, delimiter):
    assert delimiter_of(lines, ",", label) == delimiter


@pytest.mark.parametrize(
    ("cells", "explicit", "is_decimal"),
    [
        (["1,5", "2,25"], False, True),
        (["1.234,5", "12", "3"], False, True),
        (["1 234,5", "12\u00a0345", "1\u202f234"], False, True),
        (["-1,5e-3", ",5"], False, True),
        (["1", "2"], False, False),
        (["1", "2"], True, True),
        (["1.5", "2,5"], True, False),
        (["1,234.5", "2,000"], False, False),
        (["1,234,567", "2,5"], False, False),
        (["1.234", "5.678"], True, True),
        (["1.23", "5.678"], True, False),
        (["a", "b", "1,5"], False, False),
        (["a", "b", "1,5"], True, True),
        (["01.02.2020", "03.04.2020"], True, True),
        (["", ""], False, False),
    ],
)
def test_a_column_has_a_decimal_comma_where_no_number_is_written_otherwise(cells, explicit, is_decimal):
    assert decimal_columns([[cell] for cell in cells], explicit=explicit) == ({0} if is_decimal else set())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_a_byte_order_mark_names_the_encoding(tmp_path, encoding):
    text = "a,label\n1,é\n"
    data = text.encode(encoding) if encoding in ("utf-16", "utf-32") else ("\ufeff" + text).encode(encoding)
    assert _dialect(tmp_path, data).encoding == encoding[:6]
    assert _dialect(tmp_path, data, encoding="latin-1").encoding == "latin-1"


def test_a_first_line_may_name_the_delimiter(tmp_path):
    dialect = _dialect(tmp_path, "sep=;\na;b\n1;2\n")
    assert (dialect.delimiter, dialect.skip) == (";", 1)
    assert "--reader.delimiter ';'" in dialect.notes[0]


def test_a_tab_is_no_news_in_a_file_named_for_it(tmp_path):
    assert _dialect(tmp_path, "a\tb\n1\t2\n", "a.tsv").notes == ()
    assert "--reader.delimiter 'tab'" in _dialect(tmp_path, "a\tb\n1\t2\n").notes[0]
    assert "a comma separates" in _dialect(tmp_path, "a,b\n1,2\n", "a.tsv.gz.tsv").notes[0]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ('"a","b"\n"1",2,3\n"2",4,5\n', True, 0),
        ("a,b\n1,2,\n3,4,\n", False, 1),
        ("a,b,,\n1,2\n3,4\n", False, -2),
        ("a,b,,\n1,2,,\n3,4,,\n", False, 0),
        ("a,b\n1,2,3\n3,4\n", False, 0),
        ("a,b\n", False, 0),
    ],
)
def test_cells_beside_those_of_the_header_are_row_names_or_empty(tmp_path, text, first, last):
    dialect = _dialect(tmp_path, text)
    assert (dialect.unnamed_first, dialect.unnamed_last) == (first, last)


def test_lines_of_fewer_cells_before_all_others_are_no_header(tmp_path):
    assert _dialect(tmp_path, "# lab 3\n# 2024\na,b,label\n1,2,x\n3,4,y\n5,6,x\n").preamble == 2
    assert _dialect(tmp_path, "a,b,label\n1,2,x\n3\n5,6,x\n").preamble == 0


def test_a_line_longer_than_what_is_looked_at_first_is_read_whole(tmp_path):
    names = [f"column{i}" for i in range(20_000)]
    text = ";".join(names) + "\n" + ";".join("1" * 20_000) + "\n"
    assert _dialect(tmp_path, text).delimiter == ";"
