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

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field

from tasks.core.errors import BadInput
from tasks.dataset.empty_split import empty_split
from tasks.dataset.payload import Payload
from tasks.dataset.targets.number import number_from
from tasks.ingestion.files.plain_files import is_file
from tasks.ingestion.files.refused_values import refused_values
from tasks.ingestion.label_advice import label_advice, numbers_note
from tasks.ingestion.label_forms import LabelForms, label_facts
from tasks.ingestion.readers import Chunk, Reader, ReaderChoice
from tasks.ingestion.rejects import (
    NO_LABEL_REASON,
    SEEN_ONCE,
    TRAINED_ONCE,
    UNHEARD,
    are_too_many,
    too_few_classes,
    too_many,
    unlearnable,
)
from tasks.ingestion.splits import named_splits
from tasks.ingestion.tables.first_pass import FirstPass, first_pass
from tasks.ingestion.tables.roles import Column
from tasks.ingestion.tables.settle import columns_as_told
from tasks.ingestion.tables.table_options import TableOptions
from tasks.ingestion.tables.told_columns import columns_beside
from tasks.ingestion.two_passes import Ingestion, limit_rows, with_known_labels, with_notes
from tasks.pipeline.schemas import SPLIT_NAMES, SPLITS

MOST_BYTES = 16_000_000
"""Of source files: beyond them as many bytes of the first rows stand for all. A second of a core reads no more."""
_MOST_ROWS = 500_000
_SHOWN = 5
# Reasons that follow from all rows of a class.
_OF_CLASSES = (SEEN_ONCE, TRAINED_ONCE, UNHEARD)


class InspectConfig(BaseModel):
    """What is looked at."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    reader: ReaderChoice = Field(default=ReaderChoice(), description="Where the samples come from.")
    ingestion: Ingestion = Field(default=Ingestion(), description="How samples are checked.")


@dataclass
class Inspection:
    """What a look at a source has shown."""

    rows: int = 0
    whole: bool = True
    """Whether all rows were looked at."""
    columns: list[Column] = field(default_factory=list)
    labels: Counter[str] = field(default_factory=Counter)
    held_out: Counter[str] = field(default_factory=Counter)
    """Labels of the rows that the source sets aside, for testing or validation."""
    splits: Counter[str] = field(default_factory=Counter)
    """Rows by the split that the source names; "" of those that are drawn by content."""
    target: str = "class"
    """What a label says."""
    bad_cells: Counter[str] = field(default_factory=Counter)
    """Rows that a run would reject for a cell of an input, by reason: a row may stand under several."""
    rejects: Counter[str] = field(default_factory=Counter)
    """Rows that a run would reject, by reason, as far as one look tells."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first of those rows for each reason, with what is wrong with it."""
    notes: list[str] = field(default_factory=list)
    """What would be left out of the source, or is taken for granted."""
    told: dict[str, Any] = field(default_factory=dict)
    """What a run would tell of the labels (tasks/ingestion/label_forms.py)."""
    error: BadInput | None = None
    """With which a run would refuse the source; None where it would not."""
    doubt: str | None = None
    """Why it may be refused, where a look cannot tell."""

    @property
    def refusal(self) -> str | None:
        """Why a run would refuse the source; None where it would not."""
        return None if self.error is None else str(self.error)


def inspect(reader: Reader, options: Ingestion | None = None) -> Inspection:
    """Look at a source; what libraries refuse in it is told in words.

    Args:
        reader: of the source, with its options.
        options: how samples are checked.

    Raises:
        BadInput: the source is missing or unreadable, or lacks a column that an option names.
    """
    where = str(getattr(reader, "path", f"reader {reader.kind}"))
    with refused_values(where):
        seen = _inspected(reader)
    _look_at_rejects(seen, where, (options or Ingestion()).max_rejects)
    if seen.error is None and seen.whole:
        seen.error = _target_error(seen, f"reader {reader.kind}") or _split_error(seen.splits)
    return seen


def _inspected(reader: Reader) -> Inspection:
    """Look at a source, with errors as libraries raise them."""
    seen = Inspection(target=reader.says[0])
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
        _look_at_labels(chunk, seen)
        seen.rejects.update(reject.reason for reject in chunk.rejects)
        seen.examples = {reject.reason: reject.detail for reject in reversed(chunk.rejects)} | seen.examples
        yield chunk


def _look_at_labels(chunk: Chunk, seen: Inspection) -> None:
    """Count labels, of all rows and of those that are set aside."""
    names, unknown = named_splits(chunk)
    if isinstance(chunk.split, pa.Array):
        _look_at_splits(chunk.split, unknown & chunk.label.is_valid().to_numpy(zero_copy_only=False), seen)
    seen.splits.update(names)
    seen.rejects.update({NO_LABEL_REASON: chunk.label.null_count} if chunk.label.null_count else {})
    held_out = np.array([name in ("test", "validation") for name in names], bool)
    for counter, rows in ((seen.labels, ~unknown), (seen.held_out, held_out)):
        counts = pc.value_counts(chunk.label.filter(pa.array(rows)).drop_null())
        pairs = zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
        counter.update(dict(pairs))


def _look_at_splits(given: pa.Array, unknown: np.ndarray, seen: Inspection) -> None:
    """Count rows whose split is none that is known."""
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
            seen.bad_cells[f"not a number (column {column.name})"] += profile.values - profile.numbers
        if column.is_input and column.kind == "numbers" and profile.other_lengths:
            seen.bad_cells[f"wrong length (column {column.name})"] += profile.other_lengths
    try:
        table.check(options)
    except BadInput as error:
        seen.error = error


def _counts(seen: Inspection) -> list[tuple[str, int, int]]:
    """Class, its training rows, all its rows."""
    return [(label, total - seen.held_out[label], total) for label, total in seen.labels.items()]


def _look_at_classes(seen: Inspection) -> None:
    for label, reason in unlearnable(_counts(seen)).items():
        seen.rejects[reason] += seen.labels[label]
        if reason == UNHEARD:
            seen.examples.setdefault(UNHEARD, f"no training sample is of class {label!r}")
    if note := numbers_note(seen.labels):
        seen.notes.append(note)


def _target_error(seen: Inspection, where: str) -> BadInput | None:
    """What a run would say of labels of which nothing can be learned."""
    counts = _counts(seen)
    if seen.target == "class":
        classes = sorted({label for label, _, _ in counts} - unlearnable(counts).keys())
        return too_few_classes(classes, seen.rows, where) if len(classes) < 2 else None
    if seen.target == "number":
        try:
            number_from(np.repeat([float(label) for label, *_ in counts], [train for _, train, _ in counts]), where)
        except BadInput as error:
            return error
    return None


def _split_error(rows: Counter[str]) -> BadInput | None:
    """What a run would say where the source names a split for every row, and none to train on, or to test with."""
    empty = [split for split in ("train", "test") if not rows[split] and not rows[""]]
    return empty_split(empty[0], {split: rows[split] for split in SPLITS}) if empty else None


def _look_at_rejects(seen: Inspection, where: str, limit: float) -> None:
    """Whether so many rows would be rejected that a run stops; of first rows alone nothing is said of their classes."""
    sure = seen.rejects if seen.whole else Counter({r: n for r, n in seen.rejects.items() if r not in _OF_CLASSES})
    most, every = Counter(dict(seen.bad_cells.most_common(1))), sure + seen.bad_cells
    seen.rejects = seen.rejects + seen.bad_cells
    if seen.error is not None:
        return
    # A row with a bad cell may have two of them, or no label: it is rejected once.
    for reasons in [every] if every in (sure, most) else [sure, most]:
        if are_too_many(reasons, seen.rows, limit):
            seen.error = too_many(where, dict(reasons.most_common()), seen.rows, limit, label_advice(seen.labels))
            return
    if are_too_many(every, seen.rows, limit):
        seen.doubt = f"rows with several faults count once, and at most {limit:.1%} of {seen.rows:,} may be rejected"
