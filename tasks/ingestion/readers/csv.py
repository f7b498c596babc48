"""CSV, streamed by pyarrow with every cell as text, so that one bad cell rejects its row and not the file."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from pydantic import Field, field_validator

from tasks.core.errors import BadInput
from tasks.ingestion.readers import Reject, files_below
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.table_rows import Batch

# Suffixes of what is separated by tabs, and of what pyarrow opens by itself.
_TABS = (".tsv", ".tab")
_COMPRESSIONS = (".gz", ".bz2", ".zst", ".lz4", ".br")

# The rest of a quoted cell and the quote that closes it; two quotes stand for one.
_CLOSING_QUOTE = re.compile(r'(?:[^"]++|"")*+"')


class Csv(Tabular, kind="csv"):
    """Comma- or otherwise separated text with a header line; .gz and the like are opened by their suffix."""

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".tab")
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="What separates the cells; \\t is a tab. Default: a tab in .tsv and .tab files, else a comma.",
    )
    encoding: str = Field(default="utf8", description="Text encoding.")

    @field_validator("delimiter", mode="before")
    @classmethod
    def _a_tab_by_its_name(cls, value: Any) -> Any:
        """A shell hands over backslash and t as they were typed."""
        return "\t" if value in ("\\t", "tab") else value

    def batches(self, path: Path) -> Iterator[Batch]:
        """Batches of text columns; a row with too many or too few cells is rejected with its number."""
        for file in files_below(path):
            try:
                yield from self._read(file)
            except (pa.ArrowInvalid, OSError, LookupError, UnicodeError) as error:
                if "Empty CSV file" in str(error) or file.stat().st_size == 0:
                    raise BadInput(
                        where=str(file), expected="a header line and rows", got="an empty file", do="Check the path."
                    ) from error
                raise BadInput(
                    where=str(file),
                    expected=f"{self.encoding} text, cells separated by {self._delimiter_of(file)!r}",
                    got=str(error).partition("\n")[0],
                    do="Set --reader.delimiter or --reader.encoding, or correct the file.",
                ) from error

    def _delimiter_of(self, file: Path) -> str:
        if self.delimiter is not None:
            return self.delimiter
        inner = Path(file.stem) if file.suffix.lower() in _COMPRESSIONS else file
        return "\t" if inner.suffix.lower() in _TABS else ","

    def _check_quotes(self, file: Path) -> None:
        """Refuse a file that ends within quotes: the parser would take all lines since for one cell."""
        with io.TextIOWrapper(pa.input_stream(str(file)), encoding=self.encoding, errors="replace") as lines:
            began, last = open_quote(lines, self._delimiter_of(file))
        if began:
            raise BadInput(
                where=f"{file}, line {began:,}",
                expected="every quoted cell to be closed by a quote",
                got=f"a quote that is still open at the end of the file, line {last:,}",
                do="Close it there, or in the cell before it in which one is missing; a quote that is meant as text is "
                'doubled, in a quoted cell: "5"" wide".',
            )

    def _read(self, file: Path) -> Iterator[Batch]:
        self._check_quotes(file)
        ragged: list[Reject] = []

        def set_aside(row: pa_csv.InvalidRow) -> str:
            # Numbers are 1-based and count the header; ours are 0-based and do not.
            number = (row.number or 2) - 2
            detail = f"{row.actual_columns} cells where the header has {row.expected_columns}: {row.text[:80]!r}"
            ragged.append(Reject(number, "ragged row", detail))
            return "skip"

        # Row numbers reach the handler only from the single-threaded parser.
        read = pa_csv.ReadOptions(encoding=self.encoding, use_threads=False)

        def parse(handler: Callable[[pa_csv.InvalidRow], str]) -> pa_csv.ParseOptions:
            return pa_csv.ParseOptions(
                delimiter=self._delimiter_of(file),
                newlines_in_values=True,
                ignore_empty_lines=True,
                invalid_row_handler=handler,
            )

        with pa_csv.open_csv(file, read_options=read, parse_options=parse(lambda _: "skip")) as reader:
            names = _distinct(reader.schema.names, file)
        as_text = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        with pa_csv.open_csv(
            file, read_options=read, parse_options=parse(set_aside), convert_options=as_text
        ) as reader:
            valid, reject_count = 0, 0
            for batch in reader:
                # The parser reads ahead in a thread of its own and may set more rows aside at any moment: what is
                # reported with this batch is fixed here, once.
                count = len(ragged)
                # The k-th accepted row stands after every ragged row that precedes it in the file.
                reject_rows = np.array(sorted(reject.row or 0 for reject in ragged[:count]), np.int64)
                k = np.arange(valid, valid + batch.num_rows)
                rows = k + np.searchsorted(reject_rows - np.arange(len(reject_rows)), k, side="right")
                yield Batch(file.name, batch, rows, ragged[reject_count:count])
                valid, reject_count = valid + batch.num_rows, count
            if reject_count < len(ragged) or valid == 0:
                empty = pa.RecordBatch.from_pylist([], schema=pa.schema([(name, pa.string()) for name in names]))
                yield Batch(file.name, empty, np.zeros(0, np.int64), ragged[reject_count:])


def _distinct(names: list[str], file: Path) -> list[str]:
    if len(set(names)) < len(names):
        raise BadInput(
            where=str(file),
            expected="a header with distinct column names",
            got=", ".join(sorted({name for name in names if names.count(name) > 1})) + " more than once",
            do="Rename the columns.",
        )
    return names


def open_quote(lines: Iterable[str], delimiter: str) -> tuple[int, int]:
    """Where the quote stands that is open at the end of a text, read as pyarrow reads it.

    Args:
        lines: the text.
        delimiter: between its cells; a quote opens a cell where the cell begins, and is a character anywhere else.

    Returns:
        The quote's line, 0 for none, and the last line; both count from 1.
    """
    opening = re.compile(rf'(?:\A\ufeff?|{re.escape(delimiter)})"')
    began = number = 0
    for number, line in enumerate(lines, 1):
        if '"' not in line:
            continue
        at = 0
        while match := (_CLOSING_QUOTE.match(line, at) if began else opening.search(line, at)):
            began, at = 0 if began else number, match.end()
    return began, number
