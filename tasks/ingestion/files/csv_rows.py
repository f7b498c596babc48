"""Rows of a file of separated values, streamed by pyarrow with every cell as text."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from tasks.core.errors import BadInput
from tasks.ingestion.files.bounded_lines import bounded_lines
from tasks.ingestion.files.compression import open_bytes
from tasks.ingestion.files.dialect import COMMA_NUMBER, THOUSANDS, Dialect
from tasks.ingestion.files.quotes import Quotes, open_quote
from tasks.ingestion.readers import Reject
from tasks.ingestion.tables.column_names import shown_names
from tasks.ingestion.tables.table_rows import Batch

Handler = Callable[[pa_csv.InvalidRow], str]

# Letters of a line; what is longer is no row.
_LONGEST = 1 << 26


def check_quotes(file: Path, dialect: Dialect) -> None:
    """Refuse a file with a quote that is not closed where its cell ends: all lines since would be one cell.

    Raises:
        BadInput: there is one.
    """
    if not dialect.quotes:
        return
    with io.TextIOWrapper(open_bytes(file), encoding=dialect.encoding, errors="replace") as text:
        lines = _bounded(text, file)
        quote = open_quote(_rows(lines, dialect, blank=True), dialect.delimiter, dialect.escape)
    if not quote.line:
        return
    raise BadInput(
        where=f"{file}, line {quote.line:,}",
        expected="every quoted cell to be closed by a quote",
        got=f"a quote that nothing ends before line {quote.last:,}, and there the quote of another cell"
        if quote.closed
        else f"a quote that is still open at the end of the file, line {quote.last:,}",
        do="Close it there, or in the cell before it in which one is missing; a quote that is meant as text is "
        'doubled, in a quoted cell: "5"" wide". Where it stands as \\" instead: --reader.escape \'\\\'; where no '
        "quote encloses a cell: --reader.quotes false.",
    )


def check_header(file: Path, dialect: Dialect, label: str) -> None:
    """Refuse a file whose first lines are no header.

    Raises:
        BadInput: they have fewer cells than the others, and do not name the label.
    """
    if not dialect.preamble:
        return
    with _open(file, dialect, lambda _: "skip", None) as reader:
        names = reader.schema.names
    if label in names:
        return
    marks = {name[:1] for name in names[:1]} & {"#", "%", ";", "!"}
    mark = next(iter(marks), "#")
    raise BadInput(
        where=f"{file}, line {dialect.skip + 1:,}",
        expected=f"a header with a column {label!r}",
        got=f"{shown_names(names)}, fewer cells than in the lines below",
        do=f"Skip the lines before the header: --reader.comment '{mark}', or --reader.skip-rows {dialect.preamble}."
        if marks
        else f"Skip the lines before the header: --reader.skip-rows {dialect.preamble}.",
    )


def read_rows(file: Path, dialect: Dialect, keep: Collection[str]) -> Iterator[Batch]:
    """Batches of text columns; a row with too many or too few cells is rejected with its number.

    Args:
        file: it may be compressed.
        dialect: how it is written.
        keep: columns that are no numbers, whatever they look like.
    """
    names = _names(file, dialect)
    own = [name for name in names if name is not None]
    notes = (*dialect.notes, *_told(file, names, dialect))
    ragged: list[Reject] = []
    # Numbers are 1-based and count the header; ours are 0-based and do not.
    before = 2 if dialect.header else 1

    def set_aside(row: pa_csv.InvalidRow) -> str:
        detail = f"{row.actual_columns} cells where the header has {row.expected_columns}: {row.text[:80]!r}"
        ragged.append(Reject((row.number or before) - before, "ragged row", detail))
        return "skip"

    with _open(file, dialect, set_aside, [str(place) for place in range(len(names))]) as reader:
        valid, reject_count = 0, 0
        for batch in reader:
            # The parser reads ahead in a thread of its own and may set more rows aside at any moment: what is
            # reported with this batch is fixed here, once.
            count = len(ragged)
            # The k-th accepted row stands after every ragged row that precedes it in the file.
            reject_rows = np.array(sorted(reject.row or 0 for reject in ragged[:count]), np.int64)
            k = np.arange(valid, valid + batch.num_rows)
            rows = k + np.searchsorted(reject_rows - np.arange(len(reject_rows)), k, side="right")
            table = _columns(batch, rows, names, dialect, keep, file)
            yield Batch(file.name, table, rows, ragged[reject_count:count], notes)
            valid, reject_count = valid + batch.num_rows, count
        if reject_count < len(ragged) or valid == 0:
            empty = pa.RecordBatch.from_pylist([], schema=pa.schema([(name, pa.string()) for name in own]))
            yield Batch(file.name, empty, np.zeros(0, np.int64), ragged[reject_count:], notes)


# ---- columns -----------------------------------------------------------------------------------------------------


def _names(file: Path, dialect: Dialect) -> list[str | None]:
    """The name of each cell of a row; None of cells at its end that have none and hold nothing."""
    with _open(file, dialect, lambda _: "skip", None) as reader:
        names: list[str | None] = list(reader.schema.names)
        empty = [pa.types.is_null(kind) for kind in reader.schema.types]  # as far as the first rows show
    if not dialect.header:
        return [f"column_{position}" for position in range(len(names))]
    if dialect.unnamed_first:
        names = ["", *names]
    elif dialect.unnamed_last < 0:
        names = names[: dialect.unnamed_last]
    else:
        named = max((place for place, name in enumerate(names, 1) if name or not empty[place - 1]), default=0)
        names = [*names[:named], *[None] * (len(names) - named + dialect.unnamed_last)]
    own = [name for name in names if name is not None]
    if len(set(own)) < len(own):
        raise BadInput(
            where=str(file),
            expected="a header with distinct column names",
            got=shown_names(sorted({name for name in own if own.count(name) > 1})) + " more than once",
            do="Rename the columns; --reader.skip-rows 1 skips a line before the header, --reader.header false does "
            "without one.",
        )
    return names


def _told(file: Path, names: list[str | None], dialect: Dialect) -> list[str]:
    empty = names.count(None)
    told = [f"{file.name}: {empty} empty columns at the end, without a name, are left out"] if empty else []
    if dialect.unnamed_first:
        told.append(f"{file.name}: rows have one cell more than the header, taken for names of rows before the others")
    return told


def _columns(
    batch: pa.RecordBatch,
    rows: np.ndarray,
    names: list[str | None],
    dialect: Dialect,
    keep: Collection[str],
    file: Path,
) -> pa.RecordBatch:
    """The columns that have a name; numbers with a decimal comma have a point instead.

    Raises:
        BadInput: a cell beyond those columns holds something after all.
    """
    columns: dict[str, pa.Array] = {}
    for place, name in enumerate(names):
        column = batch.column(place)
        if name is None:
            filled = pc.not_equal(pc.utf8_trim_whitespace(column), "").to_numpy(zero_copy_only=False)
            if filled.any():
                at = int(np.flatnonzero(filled)[0])
                raise BadInput(
                    where=f"{file}, row {rows[at]:,} below the header",
                    expected=f"nothing in column {place + 1}, which has no name and is empty in the first rows",
                    got=repr(column[at].as_py()[:80]),
                    do="Name the column in the header.",
                )
        elif place in dialect.decimal_columns and name not in keep:
            columns[name] = _with_points(column)
        else:
            columns[name] = column
    return pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))


def _with_points(column: pa.Array) -> pa.Array:
    cells = pc.utf8_trim_whitespace(column)
    numbers = pc.replace_substring(pc.replace_substring_regex(cells, THOUSANDS, ""), ",", ".")
    return pc.if_else(pc.match_substring_regex(cells, f"^{COMMA_NUMBER}$"), numbers, column)


# ---- the parser's input ------------------------------------------------------------------------------------------


def _open(file: Path, dialect: Dialect, handler: Handler, names: list[str] | None) -> pa_csv.CSVStreamingReader:
    """The parser at the first row; without names, at the header, if there is one, to learn them."""
    as_text = {} if names is None else dict.fromkeys(names, pa.string())
    return pa_csv.open_csv(
        _stream(file, dialect),
        # Row numbers reach the handler only from the single-threaded parser.
        read_options=pa_csv.ReadOptions(
            encoding="utf8" if _is_filtered(dialect) else dialect.encoding,
            use_threads=False,
            column_names=names,
            autogenerate_column_names=names is None and not dialect.header,
            skip_rows_after_names=int(names is not None and dialect.header),
        ),
        parse_options=pa_csv.ParseOptions(
            delimiter=dialect.delimiter,
            escape_char=dialect.escape or False,
            quote_char='"' if dialect.quotes else False,
            newlines_in_values=True,
            ignore_empty_lines=True,
            invalid_row_handler=handler,
        ),
        convert_options=pa_csv.ConvertOptions(column_types=as_text, strings_can_be_null=False, null_values=[""]),
    )


def _is_filtered(dialect: Dialect) -> bool:
    """Whether lines are to be left out, for which text must be looked at."""
    return bool(dialect.comment or (dialect.skip and codecs.lookup(dialect.encoding).name != "utf-8"))


def _stream(file: Path, dialect: Dialect) -> IO[bytes]:
    """The file from its header on, without comments; as UTF-8 where lines were left out."""
    stream = open_bytes(file)
    if _is_filtered(dialect):
        lines = _bounded(io.TextIOWrapper(stream, encoding=dialect.encoding, newline=""), file)
        return io.BufferedReader(_Lines(line.encode() for line in _rows(lines, dialect)))
    for _ in range(dialect.skip):
        if not stream.readline(_LONGEST):
            break
    return stream


def _rows(lines: Iterable[str], dialect: Dialect, *, blank: bool = False) -> Iterator[str]:
    """Lines without those before the header and without comments; ``blank``: with empty ones in their place."""
    quotes = Quotes(dialect.delimiter, dialect.escape)
    for number, line in enumerate(lines, 1):
        comment = dialect.comment and not quotes.began and line.startswith(dialect.comment)
        if number <= dialect.skip or comment:
            if blank:
                yield "\n"
            continue
        if dialect.comment and dialect.quotes:
            quotes.read(line, number)
        yield line


def _bounded(text: IO[str], file: Path) -> Iterator[str]:
    expected = f"lines of at most {_LONGEST:,} letters"
    do = "Check that this is a table; if its lines end otherwise, write it anew."
    return bounded_lines(text, file, _LONGEST, expected, do)


class _Lines(io.RawIOBase):
    """Lines as a stream of bytes."""

    def __init__(self, lines: Iterator[bytes]) -> None:
        self.lines, self.rest = lines, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """As many bytes as there are of one line, at most what fits."""
        while not self.rest and (line := next(self.lines, None)) is not None:
            self.rest = line
        part, self.rest = self.rest[: len(buffer)], self.rest[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)
