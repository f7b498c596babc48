"""A label column as the text that labels are known by, and what cannot be such a column (tasks/dataset/targets)."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.core.errors import BadInput
from tasks.dataset.encoders import cells
from tasks.dataset.targets import TargetKind
from tasks.dataset.targets.labels import set_text
from tasks.dataset.targets.number import NUMBER, number_text
from tasks.ingestion.tables.columns import RejectRows, as_text, is_list, is_text
from tasks.ingestion.tables.written_lists import listed, lists_note, separator_note


def labels_of(column: pa.Array, target: TargetKind, separator: str, name: str, reject: RejectRows) -> pa.Array:
    """The label of each row as it will be known; null where it has none."""
    if target == "number":
        return _numbers(column, name, reject)
    if target == "labels":
        return _sets(column, separator, name, reject)
    if target == "response":
        return as_text(column, trim=False)  # every mark of it is what a model learns to write
    if pa.types.is_floating(column.type):
        column = _whole_numbers(column, name, reject)
        return pc.if_else(pc.is_null(column, nan_is_null=True), pa.scalar(None, pa.string()), as_text(column))
    return as_text(column)


def _whole_numbers(column: pa.Array, name: str, reject: RejectRows) -> pa.Array:
    """What pandas makes of integers once one is missing; a number with a fraction names no class."""
    is_whole = pc.or_(pc.equal(column, pc.floor(column)), pc.is_nan(column))
    bad = pc.invert(pc.fill_null(is_whole, fill_value=True))
    reject(bad.to_numpy(zero_copy_only=False), "not a whole number", f"label column {name}", column)
    return column


def ignore_rejects(bad: np.ndarray, reason: str, detail: str, values: pa.Array | None = None) -> None:
    """A clean label that cannot be read is one that is not known: no reason to reject its row."""


def check_labels(column: pa.Array, says: tuple[TargetKind, str], name: str, where: str) -> tuple[str, ...]:
    """Refuse a column that says something else than it is to, by its first rows.

    Args:
        column: of labels, the first rows.
        says: what a label is to say, and what stands between the labels of a set.
        name: of the column.
        where: the source, for the message.

    Returns:
        What there is to tell about lists and sets that are not read as such.

    Raises:
        BadInput: it does.
    """
    target, separator = says
    is_nested = pa.types.is_nested(column.type) or pa.types.is_binary(column.type)
    examples = ", ".join(str(value) for value in column.slice(0, 3).to_pylist())[:80]
    if target == "number" and not _may_be_numbers(column):
        raise BadInput(
            where=f"{where}, label column {name!r}",
            expected="numbers",
            got=f"{column.type} ({examples} …)",
            do="Choose another label column, or leave --reader.target at class.",
        )
    floats = _are_floats(column)
    if target == "class" and (floats or is_nested):
        raise BadInput(
            where=f"{where}, label column {name!r}",
            expected="class labels: text, integers or booleans",
            got=f"{'floats' if floats else column.type} ({examples} …)",
            do="Choose another label column with --reader.label, or set --reader.target to number or labels.",
        )
    if not is_text(column.type) or target not in ("class", "labels"):
        return ()
    note = lists_note(column, name) if target == "class" else separator_note(column, name, separator)
    return (note,) if note else ()


def _may_be_numbers(column: pa.Array) -> bool:
    """Numbers, or text of which some is one."""
    if is_text(column.type):
        text = pc.drop_null(as_text(column))
        return not len(text) or bool(pc.any(pc.match_substring_regex(text, NUMBER)).as_py()) or _form(text) is not None
    kind = column.type
    return pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)


def _are_floats(column: pa.Array) -> bool:
    if not is_text(column.type):
        values = pc.drop_null(column) if pa.types.is_floating(column.type) else pa.array([], pa.float64())
        return bool(pc.any(pc.and_(pc.not_equal(values, pc.floor(values)), pc.is_finite(values))).as_py())
    # A text format has no float type: values that are all numbers, some with a fraction, are one.
    column = pc.drop_null(as_text(column))
    column = column.filter(pc.not_equal(pc.utf8_lower(column), "nan"))
    number = pc.match_substring_regex(column, NUMBER)
    fraction = pc.match_substring_regex(column, r"\.\d*[1-9]|[eE]-")
    return len(column) > 0 and bool(pc.all(number).as_py()) and bool(pc.any(fraction).as_py())


def _numbers(column: pa.Array, name: str, reject: RejectRows) -> pa.Array:
    """Numbers as text; what is none is rejected."""
    if not is_text(column.type):
        numbers = column.cast(pa.float64(), safe=False)
        numbers = pc.if_else(pc.is_null(numbers, nan_is_null=True), pa.scalar(None, pa.float64()), numbers)
    else:
        text = as_text(column)
        plain = pc.fill_null(pc.match_substring_regex(text, NUMBER), fill_value=True)
        form = None if pc.all(plain).as_py() else _form(text.filter(pc.invert(plain)))
        written = cells.written_numbers(text, form) if form else pa.nulls(len(text), pa.float64())
        fits = pc.or_(plain, written.is_valid())
        reject(pc.invert(fits).to_numpy(zero_copy_only=False), "not a number", f"label column {name}", text)
        numbers = pc.if_else(plain, text, pa.scalar(None, pa.string())).cast(pa.float64())
        # By one form, the plain ones too: 2.500 beside 1.234,50 has a point between thousands.
        numbers = pc.if_else(written.is_valid(), written, numbers)
    # Networks see float32: what overflows there is infinite.
    finite = pc.fill_null(pc.is_finite(numbers.cast(pa.float32(), safe=False)), fill_value=True)
    reject(pc.invert(finite).to_numpy(zero_copy_only=False), "NaN or infinite", f"label column {name}")
    return number_text(pc.if_else(finite, numbers, pa.scalar(None, pa.float64())))


def _form(text: pa.Array) -> str | None:
    """How most of these words are written as numbers, ``12,345`` or ``1.234,5``; None if they are not."""
    counts = {form: pc.sum(cells.is_written(text, form)).as_py() or 0 for form in cells.FORMS}
    form = max(counts, key=lambda form: counts[form])
    return form if counts[form] * 2 > len(text) - text.null_count else None


def _sets(column: pa.Array, separator: str, name: str, reject: RejectRows) -> pa.Array:
    """Sets of labels, given as lists or as text, as sorted text with the separator between; an empty list is none.

    Text may be a list as JSON, Python or SQL writes one.

    A label that holds the separator would be read as two: its row is rejected.
    """
    if is_list(column.type):
        sets = column.to_pylist()
    else:
        texts = as_text(column).to_pylist()
        sets = [None if text is None else listed(text) or text.split(separator) for text in texts]
    torn = np.array([any(separator in str(one) for one in labels or ()) for labels in sets], bool)
    reject(torn, "separator within a label", f"label column {name}", column)
    return pa.array([None if labels is None else set_text(labels, separator) for labels in sets], pa.string())
