"""A column called split that says nothing but usual names of splits: it is the source's own, named or not."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import pyarrow as pa
import pyarrow.compute as pc

from tasks.dataset.payload import Payload
from tasks.ingestion.readers import Chunk
from tasks.ingestion.splits import named_splits
from tasks.ingestion.tables.columns import as_text
from tasks.ingestion.tables.table_options import SPLIT_COLUMN, TableOptions
from tasks.ingestion.tables.table_rows import Batch
from tasks.pipeline.schemas import SPLIT_NAMES, SPLITS

VALIDATION_TESTS = "there is no split test: validation serves as the held-out test"
_SHOWN = 40

Inputs = TypeVar("Inputs", bound=Payload | TableOptions)


@dataclass(frozen=True)
class SplitColumn:
    """What the cells of a column called split say."""

    name: str
    splits: tuple[str, ...]
    """Those that are named, as we call them."""
    odd: str | None
    """The first cell that is no usual name of a split; "" where it is empty."""
    is_whole: bool
    """Whether every row was looked at."""

    @property
    def is_taken(self) -> bool:
        """Whether it says the splits: nothing but usual names, some rows to train on, and some that are held out."""
        return self.odd is None and (not self.is_whole or ("train" in self.splits and len(self.splits) > 1))

    @property
    def note(self) -> str:
        """What there is to tell."""
        if self.is_taken:
            return f"splits by the column {self.name}: {', '.join(self.splits)}"
        why = f"every row says {', '.join(self.splits)}"
        if self.odd is not None:
            why = f"{self.odd[:_SHOWN]!r} is no usual name of a split" if self.odd else "some of its cells are empty"
        how = f"--reader.split {self.name} takes it all the same, and rejects rows of other names"
        return f"rows are split anew, and not by the column {self.name}, for {why} ({how})"

    def given(self, opened: tuple[Inputs, Iterator[Chunk]]) -> tuple[Inputs, Iterator[Chunk]]:
        """What a reader has opened that was told of the column, with a word about who found it."""
        inputs, chunks = opened
        if isinstance(inputs, TableOptions):
            inputs = replace(inputs, found=(*inputs.found, "split"))
        tested = "test" in self.splits or not self.is_whole
        notes = (self.note,) if tested else (self.note, VALIDATION_TESTS)
        return inputs, (replace(self._tested(chunk, tested), notes=(*notes, *chunk.notes)) for chunk in chunks)

    @staticmethod
    def _tested(chunk: Chunk, tested: bool) -> Chunk:
        """The chunk, with validation as the held-out test where no row is called one."""
        if tested or not isinstance(chunk.split, pa.Array):
            return chunk
        names, _ = named_splits(chunk)
        return replace(chunk, split=pa.array(["test" if name == "validation" else name for name in names], pa.string()))


def split_column(names: Sequence[str]) -> str | None:
    """The column that is called split, in whatever case; None where there is none."""
    exact_first = sorted(names, key=lambda name: name != SPLIT_COLUMN)
    return next((name for name in exact_first if name.lower() == SPLIT_COLUMN), None)


def look_at_splits(name: str, batches: Iterable[Batch], most_rows: int | None, most_bytes: int | None) -> SplitColumn:
    """What the cells of a column say, up to the first that is no usual name of a split.

    Args:
        name: of the column.
        batches: the rows of its source.
        most_rows: that are read of the source; None of all.
        most_bytes: of the rows that are looked at, where the first ones stand for all; None of all.
    """
    rows = taken = 0
    seen: set[str] = set()
    for batch in batches:
        column = batch.table.column(name) if name in batch.table.schema.names else pa.nulls(batch.table.num_rows)
        column = column if most_rows is None else column.slice(0, most_rows - rows)
        cells = pc.unique(as_text(column)).to_pylist()
        odd = [cell for cell in cells if cell is None or cell.lower() not in SPLIT_NAMES]
        if odd:
            return SplitColumn(name, _in_order(seen), odd[0] or "", is_whole=True)
        seen.update(SPLIT_NAMES[cell.lower()] for cell in cells)
        rows, taken = rows + len(column), taken + batch.table.nbytes
        if most_rows is not None and rows >= most_rows:
            break
        if most_bytes is not None and taken > most_bytes:
            break
    return SplitColumn(name, _in_order(seen), None, is_whole=most_bytes is None)


def _in_order(splits: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(splits, key=SPLITS.index))
