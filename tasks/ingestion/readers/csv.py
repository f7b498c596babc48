"""CSV, streamed by pyarrow with every cell as text, so that one bad cell rejects its row and not the file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, field_validator

from tasks.core.errors import BadInput
from tasks.ingestion.files.compression import UNPACKING_ERRORS
from tasks.ingestion.files.csv_rows import check_header, check_quotes, read_rows
from tasks.ingestion.files.dialect import DialectOptions, dialect_of
from tasks.ingestion.readers import files_below
from tasks.ingestion.readers.tabular import Tabular
from tasks.ingestion.tables.header_rows import without_header_rows
from tasks.ingestion.tables.table_rows import Batch


class Csv(Tabular, kind="csv"):
    """Comma- or otherwise separated text, with a header line or without; compressed files by their suffix."""

    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".tab")
    packed: ClassVar[bool] = True
    delimiter: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="What separates the cells; \\t or tab is a tab. Default: what the first lines show, of comma, "
        "semicolon, tab and bar, with a word about it where the file's name promises another.",
    )
    encoding: str | None = Field(default=None, description="Text encoding. Default: as its first bytes say, else utf8.")
    decimal: Literal[".", ","] | None = Field(
        default=None,
        description="Decimal mark of numbers; with a comma, points stand between thousands. Default: what the first "
        "lines show, where the comma does not separate cells.",
    )
    header: bool = Field(
        default=True, description="Whether the first line names the columns; else column_0, column_1 …"
    )
    skip_rows: int = Field(default=0, ge=0, description="Lines to skip before the header.")
    comment: str | None = Field(default=None, min_length=1, description="What begins a line that is no row: '#'.")
    escape: str | None = Field(
        default=None,
        min_length=1,
        max_length=1,
        description="What takes the meaning of the next character away: '\\' where quotes stand as \\\" in a cell.",
    )

    quotes: bool = Field(
        default=True, description="Whether quotes enclose cells; else they are characters like any other."
    )

    @field_validator("delimiter", mode="before")
    @classmethod
    def _a_tab_by_its_name(cls, value: Any) -> Any:
        """A shell hands over backslash and t as they were typed."""
        return "\t" if value in ("\\t", "tab") else value

    def batches(self, path: Path) -> Iterator[Batch]:
        """Batches of text columns; a row with too many or too few cells is rejected with its number."""
        for file in files_below(path):
            dialect = None
            try:
                dialect = dialect_of(file, self._dialect_options)
                check_quotes(file, dialect)
                check_header(file, dialect, self.label)
                rows = read_rows(file, dialect, self._no_numbers())
                yield from without_header_rows(rows, self.missing) if dialect.header else rows
            except (*UNPACKING_ERRORS, LookupError, ValueError) as error:
                if "Empty CSV file" in str(error) or file.stat().st_size == 0:
                    raise BadInput(
                        where=str(file), expected="a header line and rows", got="an empty file", do="Check the path."
                    ) from error
                if "straddling object" in str(error):
                    raise BadInput(
                        where=str(file),
                        expected="rows of at most 1 MiB",
                        got="a longer one",
                        do="Look for a quote that is not closed; a table of such rows is read as JSONL or Parquet.",
                    ) from error
                raise BadInput(
                    where=str(file),
                    expected=f"{dialect.encoding} text, cells separated by {dialect.delimiter!r}"
                    if dialect
                    else "text, compressed as its suffix says",
                    got=str(error).partition("\n")[0],
                    do="Say how it is written; where Windows of western Europe has: --reader.encoding cp1252"
                    if isinstance(error, UnicodeError) or "invalid UTF8" in str(error)
                    else "Set --reader.delimiter or --reader.encoding, or correct the file.",
                ) from error

    @property
    def _dialect_options(self) -> DialectOptions:
        return DialectOptions(
            delimiter=self.delimiter,
            encoding=self.encoding,
            comment=self.comment,
            escape=self.escape,
            quotes=self.quotes,
            decimal=self.decimal,
            skip_rows=self.skip_rows,
            header=self.header,
            label=self.label,
        )

    def _no_numbers(self) -> list[str]:
        """Columns that are no numbers, whatever they look like."""
        label = None if self.target == "number" else self.label
        names = (self.id, self.group, self.split, self.text_b, label, *self.texts)
        return [name for name in names if name is not None]
