"""CSV, streamed by pyarrow with every cell as text, so that one bad cell rejects its row and not the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from pydantic import Field

from tasks.core.errors import BadInput
from tasks.ingestion.readers import Reject, files_below
from tasks.ingestion.readers.tabular import Batch, Tabular


class Csv(Tabular):
    """Comma- or otherwise separated text with a header line; .gz and the like are opened by their suffix."""

    kind: Literal["csv"] = "csv"
    delimiter: str = Field(default=",", min_length=1, max_length=1, description="What separates the cells.")
    encoding: str = Field(default="utf8", description="Text encoding.")

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
                    expected=f"{self.encoding} text, cells separated by {self.delimiter!r}",
                    got=str(error).partition("\n")[0],
                    do="Set delimiter or encoding, or mend the file.",
                ) from error

    def _read(self, file: Path) -> Iterator[Batch]:
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
                delimiter=self.delimiter, newlines_in_values=True, ignore_empty_lines=True, invalid_row_handler=handler
            )

        with pa_csv.open_csv(file, read_options=read, parse_options=parse(lambda _: "skip")) as reader:
            names = reader.schema.names
        if len(set(names)) < len(names):
            raise BadInput(
                where=str(file),
                expected="a header with distinct column names",
                got=", ".join(sorted({name for name in names if names.count(name) > 1})) + " more than once",
                do="Rename the columns.",
            )
        as_text = pa_csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False)
        with pa_csv.open_csv(
            file, read_options=read, parse_options=parse(set_aside), convert_options=as_text
        ) as reader:
            valid, reported = 0, 0
            for batch in reader:
                # The parser reads ahead in a thread of its own and may set more rows aside at any moment: what is
                # reported with this batch is fixed here, once.
                known = len(ragged)
                # The k-th accepted row stands after every ragged row that precedes it in the file.
                skipped = np.array(sorted(reject.row or 0 for reject in ragged[:known]), np.int64)
                k = np.arange(valid, valid + batch.num_rows)
                rows = k + np.searchsorted(skipped - np.arange(len(skipped)), k, side="right")
                yield Batch(file.name, batch, rows, ragged[reported:known])
                valid, reported = valid + batch.num_rows, known
            if reported < len(ragged) or valid == 0:
                empty = pa.RecordBatch.from_pylist([], schema=pa.schema([(name, pa.string()) for name in names]))
                yield Batch(file.name, empty, np.zeros(0, np.int64), ragged[reported:])
