"""What a run would make of a source: the role of every column, the labels, what would be rejected or refused.

Nothing is written but a spool that is thrown away, and nothing is imported that a look needs not, so that it answers
within two seconds of a core. Of a source beyond ``MOST_BYTES`` the first rows are looked at, and that is said.
"""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from tasks.core.errors import BadInput
from tasks.dataset.payload import Payload
from tasks.ingestion.files.plain_files import is_file
from tasks.ingestion.files.refused_values import refused_values
from tasks.ingestion.label_forms import LabelForms, label_facts
from tasks.ingestion.readers import Chunk, Reader, ReaderChoice
from tasks.ingestion.rejects import NO_LABEL_REASON, UNHEARD
from tasks.ingestion.splits import named_splits
from tasks.ingestion.tables.first_pass import FirstPass, first_pass
from tasks.ingestion.tables.roles import Column
from tasks.ingestion.tables.settle import columns_as_told
from tasks.ingestion.tables.table_options import TableOptions
from tasks.ingestion.tables.told_columns import columns_beside
from tasks.ingestion.two_passes import limit_rows, with_known_labels, with_notes
from tasks.pipeline.schemas import SPLIT_NAMES

MOST_BYTES = 16_000_000
"""Of source files: beyond them as many bytes of the first rows stand for all. A second of a core reads no more."""
_MOST_ROWS = 500_000
_SHOWN = 5


class InspectConfig(BaseModel):
    """What is looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reader: ReaderChoice = Field(default=ReaderChoice(), description="Where the samples come from.")


@dataclass
class Inspection:
    """What a look at a source has shown."""

    rows: int = 0
    whole: bool = True
    """Whether all rows were looked at."""
    columns: list[Column] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    held_out: Counter[str] = field(default_factory=Counter)
    """Labels of the rows that the source sets aside as a whole, for testing or validation."""
    rejects: Counter[str] = field(default_factory=Counter)
    """Rows that a run would reject, by reason, as far as one look tells."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first of those rows for each reason, with what is wrong with it."""
    notes: list[str] = field(default_factory=list)
    """What would be left out of the source, or is taken for granted."""
    told: dict[str, Any] = field(default_factory=dict)
    """What a run would tell of the labels (tasks/ingestion/label_forms.py)."""
    refusal: str | None = None
    """Why a run would refuse the source; None where it would not."""


def inspect(reader: Reader) -> Inspection:
    """Look at a source; what libraries refuse in it is told in words.

    Args:
        reader: of the source, with its options.

    Raises:
        BadInput: the source is missing or unreadable, or lacks a column that an option names.
    """
    with refused_values(str(getattr(reader, "path", f"reader {reader.kind}"))):
        return _inspected(reader)


def _inspected(reader: Reader) -> Inspection:
    """Look at a source, with errors as libraries raise them."""
    seen = Inspection()
    size = sum(path.stat().st_size for path in reader.files() if is_file(path))
    is_large = size > MOST_BYTES
    if is_large:
        reader = reader.glance(MOST_BYTES, _MOST_ROWS)
    inputs, came = reader.open()
    forms = LabelForms()
    chunks = with_notes(limit_rows(came, reader.limit, more=reader.has_held_out_files), seen.notes)
    if reader.says[0] == "class":
        chunks = (with_known_labels(chunk, reader.no_label, forms) for chunk in chunks)
    chunks = _watched(chunks, seen, MOST_BYTES if is_large else None)
    seen.whole = not is_large
    if isinstance(inputs, Payload):
        unused: dict[str, str] = {}
        for chunk in chunks:
            unused = chunk.unused | unused
        seen.columns = columns_beside(inputs, unused) or [
            Column(name, "input", inputs.kind, None, None, "") for name in inputs.own
        ]
    else:
        with tempfile.TemporaryDirectory(prefix="gradsieve-") as folder:
            _look_at_table(inputs, first_pass(inputs, chunks, Path(folder)), seen)
    if reader.says[0] == "class":
        seen.told = label_facts(sorted(seen.labels), forms)
        _look_at_classes(seen)
    return seen


def _watched(chunks: Iterator[Chunk], seen: Inspection, most: int | None) -> Iterator[Chunk]:
    """The chunks up to so many bytes, their labels and rejects counted."""
    taken = 0
    for chunk in chunks:
        if most is not None and taken > most:
            return
        taken += sum(column.nbytes for column in chunk.payload.values())
        seen.rows += len(chunk.rows) + len(chunk.rejects)
        counts = pc.value_counts(chunk.label)
        pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
        for label, count in pairs:
            if label is None:
                seen.rejects[NO_LABEL_REASON] += count
            else:
                seen.labels[label] += count
                seen.held_out[label] += count * (chunk.split in ("test", "validation"))
        if isinstance(chunk.split, pa.Array):
            _look_at_splits(chunk, chunk.split, seen)
        seen.rejects.update(reject.reason for reject in chunk.rejects)
        seen.examples = {reject.reason: reject.detail for reject in reversed(chunk.rejects)} | seen.examples
        yield chunk


def _look_at_splits(chunk: Chunk, given: pa.Array, seen: Inspection) -> None:
    """Count rows whose split is none that is known."""
    _, unknown = named_splits(chunk)
    if unknown.any():
        seen.rejects["unknown split"] += int(unknown.sum())
        names = ", ".join(map(str, pc.unique(given.filter(pa.array(unknown))).to_pylist()[:_SHOWN]))
        known = ", ".join(SPLIT_NAMES)
        seen.examples.setdefault("unknown split", f"{names}: none of {known}; without --reader.split all are used")


def _look_at_table(options: TableOptions, table: FirstPass, seen: Inspection) -> None:
    seen.columns = columns_as_told(table, options)
    for column in table.columns:
        profile = table.profiles[column.name]
        if column.is_input and column.kind == "number" and profile.numbers < profile.values:
            seen.rejects[f"not a number (column {column.name})"] += profile.values - profile.numbers
        if column.is_input and column.kind == "numbers" and profile.other_lengths:
            seen.rejects[f"wrong length (column {column.name})"] += profile.other_lengths
    try:
        table.check(options)
    except BadInput as error:
        seen.refusal = str(error)


def _look_at_classes(seen: Inspection) -> None:
    once = [label for label, count in seen.labels.items() if count == 1]
    unheard = [label for label, count in seen.labels.items() if count == seen.held_out[label] > 1]
    if once:
        seen.rejects["class seen once"] += len(once)
    for label in unheard:
        seen.rejects[UNHEARD] += seen.labels[label]
        seen.examples.setdefault(UNHEARD, f"no training sample is of class {label!r}")
    left = len(seen.labels) - len(once) - len(unheard)
    if seen.refusal is None and left < 2:
        names = ", ".join(list(seen.labels)[:8]) or "no usable label"
        seen.refusal = f"expected at least two classes with two samples each, got {left} ({names})"
