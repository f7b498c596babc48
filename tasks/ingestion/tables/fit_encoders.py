"""Encoders of a table's columns, fitted on its training rows: one column after the other, streamed."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadInput
from tasks.core.progress import LOGGER
from tasks.dataset.encoders import ColumnEncoder, cells
from tasks.dataset.encoders.boolean import Boolean
from tasks.dataset.encoders.category import Category
from tasks.dataset.encoders.date_parts import PARTS, DateParts, Part, part_values, seconds_of
from tasks.dataset.encoders.hashed_text import HashedText
from tasks.dataset.encoders.number import Number
from tasks.dataset.encoders.numbers import Numbers
from tasks.dataset.payload import Payload
from tasks.ingestion.spool import Cells, Spool
from tasks.ingestion.tables.settled_rows import StoredColumn

# A value of fewer training rows, or of a smaller share of them, is among the others: standardised, a column that is one
# in a thousandth of the rows would be thirty there, and its gradients outliers for no fault of theirs.
_RARE_ROWS, _RARE_SHARE = 3, 1 / 200


def with_encoders(
    payload: Payload, stored: list[StoredColumn], spool: Spool, where: str, known: Payload | None = None
) -> Payload:
    """The payload with its encoders; as it is where all inputs are numbers and none is missing.

    Args:
        payload: of the columns.
        stored: the columns.
        spool: the rows, with their splits.
        where: the source, for messages.
        known: the payload of a base: its encoders are kept as long as they serve, so that its networks do. The log says
            why, where they do not; the base is then none, as every run with a base checks.

    Raises:
        BadInput: the option shape asks for another number of values.
    """
    by_name = {one.column.name: one for one in stored}
    used = [by_name[name] for name in payload.columns if name in by_name]
    is_plain = all(one.is_plain for one in used)
    if is_plain and (known is None or not known.encoders):
        return payload
    with spool.training_cells() as cells_of:
        encoders = tuple(_fitted(one, cells_of) for one in used)
    if known is not None:
        reason = _why_anew(payload, known, encoders)
        if reason is None:
            return known
        LOGGER.info("encoders are fitted anew: %s", reason)
        if is_plain:
            return payload
    width = sum(encoder.width for encoder in encoders)
    if len(payload.shape) > 1 and int(np.prod(payload.shape)) != width:
        raise BadInput(
            where=f"{where}, option --reader.shape",
            expected=f"a shape of {width:,} values, as many as the encoded features have",
            got=" × ".join(map(str, payload.shape)),
            do="Leave --reader.shape out, or name columns of numbers alone with --reader.features.",
        )
    shape = payload.shape if len(payload.shape) > 1 else (width,)
    return payload.model_copy(update={"encoders": encoders, "shape": shape, "dtype": "float32"})


def _fitted(stored: StoredColumn, cells_of: Cells) -> ColumnEncoder:
    column, name = stored.column, stored.column.name
    if column.kind == "numbers":
        return Numbers(length=stored.length)
    if column.kind in ("number", "written number") or (column.kind == "boolean" and pa.types.is_integer(stored.kind)):
        return _number(name, column.form, cells_of)
    if column.kind == "boolean":
        return _boolean(name, cells_of)
    if column.kind == "category":
        return _category(name, cells_of)
    if column.kind == "date":
        return _date_parts(name, column.form, cells_of)
    return HashedText(indicator=any(part.null_count for part in cells_of(name)))


def _why_anew(payload: Payload, known: Payload, encoders: tuple[ColumnEncoder, ...]) -> str | None:
    """Why a base's encoders do not serve any more; None if they do."""
    if known.columns != payload.columns:
        return "the inputs are other columns than the base's"
    if len(known.encoders) != len(encoders):
        return "the base's inputs were all numbers, and none was missing"
    for name, before, now in zip(payload.columns, known.encoders, encoders, strict=True):
        if type(before) is not type(now) or before.reads != now.reads:
            return f"column {name} is of another kind than the base's"
        new = [word for word in now.knows if word not in before.knows]
        if new:
            return f"column {name} has what the base's had not: {', '.join(new[:5])}"
    return None


def _number(name: str, form: str | None, cells_of: Cells) -> Number:
    reader = Number.model_validate({"median": 0.0, "form": form or "plain"})
    parts = [reader.numbers(cells_) for cells_ in cells_of(name)]
    values = np.concatenate([part.drop_null().to_numpy(zero_copy_only=False) for part in parts] or [np.zeros(0)])
    median = float(np.median(values)) if len(values) else 0.0
    return reader.model_copy(update={"median": median, "indicator": len(values) < sum(map(len, parts))})


def _boolean(name: str, cells_of: Cells) -> Boolean:
    counts: Counter[bool | None] = Counter()
    for part in cells_of(name):
        values = part if pa.types.is_boolean(part.type) else cells.is_yes(cells.trimmed(part))
        counts.update(_counted(values))
    return Boolean(usual=counts[True] > counts[False], indicator=counts[None] > 0)


def _category(name: str, cells_of: Cells) -> Category:
    counts: Counter[str | None] = Counter()
    for part in cells_of(name):
        counts.update(_counted(cells.trimmed(part)))
    missing = counts.pop(None, 0)
    least = max(_RARE_ROWS, (counts.total() + missing) * _RARE_SHARE)
    usual = sorted(value for value, count in counts.items() if value is not None and count >= least)
    values = usual or sorted(value for value in counts if value is not None)
    return Category(values=tuple(values), others=len(values) < len(counts), indicator=missing > 0)


def _counted(values: pa.Array) -> dict:
    counts = pc.value_counts(values)
    return dict(zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True))


def _date_parts(name: str, form: str | None, cells_of: Cells) -> DateParts:
    parts = [seconds_of(part, form) for part in cells_of(name)]
    seconds = pa.concat_arrays([part.drop_null() for part in parts]) if parts else pa.array([], pa.int64())
    if not len(seconds):
        return DateParts(parts=(), first=0, median=0, form=form)
    differ: tuple[Part, ...] = tuple(part for part in PARTS if len(np.unique(part_values(seconds, part))) > 1)
    values = seconds.to_numpy()
    return DateParts(
        parts=differ,
        first=int(values.min()),
        median=int(np.median(values)),
        form=form,
        indicator=len(seconds) < sum(map(len, parts)),
    )
