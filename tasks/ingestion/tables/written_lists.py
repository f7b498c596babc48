"""Lists that stand in a cell as text: ``["a", "b"]``, ``['a', 'b']``, ``['a' 'b']``, ``[a, b]``, ``{a,b}``,
``{"choices": ["a"]}``."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import json
import re

import pyarrow as pa
import pyarrow.compute as pc

# One element between quotes, or a bare one, and what follows it; NumPy writes no commas.
_ELEMENT = re.compile(
    r"""\s*(?:"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'|([^\s,'"\[\]{}][^,'"\[\]{}]*))\s*(,|$|(?=['"]))""", re.DOTALL
)
_SEPARATORS = (",", ";", "/")


def listed(text: str) -> list[str] | None:
    """The elements of a list that stands as text; None of other text. An empty list has one element that is empty."""
    if not text.startswith(("[", "{")) or text[-1] != {"[": "]", "{": "}"}[text[0]]:
        return None
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    if isinstance(values, dict) and len(values) == 1:
        (values,) = values.values()  # {"choices": ["a", "b"]}, as Label Studio's CSV has it
    if isinstance(values, list):
        flat = all(value is None or isinstance(value, str | int | float) for value in values)
        return ([str(value) for value in values if value is not None] or [""]) if flat else None
    return _elements(text[1:-1])


def _elements(inside: str) -> list[str] | None:
    elements, place = [], 0
    while place < len(inside.rstrip()):
        match = _ELEMENT.match(inside, place)
        if match is None:
            return None
        double, single, bare = match.groups()[:3]
        quoted = double if double is not None else single
        elements.append(bare.strip() if quoted is None else re.sub(r"\\(.)", r"\1", quoted))
        place = match.end()
    return elements or [""]


def lists_note(column: pa.Array, name: str) -> str | None:
    """What there is to tell of classes that are lists in truth; None where they are not.

    Args:
        column: of labels, of the first rows.
        name: of the column.
    """
    texts = [text.strip() for text in pc.unique(column.drop_null()).to_pylist() if text.strip()]
    if len(texts) < 2 or not all(map(listed, texts)):
        return None
    return f"the labels in {name} are lists, and each list is one class: --reader.target labels reads their elements"


def separator_note(column: pa.Array, name: str, separator: str) -> str | None:
    """What there is to tell where something else than the separator seems to stand between the labels of a set.

    Args:
        column: of sets of labels, of the first rows.
        name: of the column.
        separator: between labels, as the options say.
    """
    texts = [text for text in pc.unique(column.drop_null()).to_pylist() if listed(text.strip()) is None]
    if any(separator in text for text in texts):
        return None
    for other in _SEPARATORS:
        sets = [[part.strip() for part in text.split(other)] for text in texts]
        several = sum(len(parts) > 1 for parts in sets)
        if several and len({part for parts in sets for part in parts}) + (several == 1) <= len(texts):
            return (
                f"no cell of {name} holds {separator!r}, and {other!r} stands in {several} different ones: "
                f"if it is between labels, --reader.separator {_typed(other)}"
            )
    return None


def _typed(separator: str) -> str:
    return f"'{separator}'" if separator == ";" else separator
