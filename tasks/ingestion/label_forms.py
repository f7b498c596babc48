"""One spelling for one class: what is merged, what is no label at all, and what only looks alike."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

NO_LABEL = ("NA", "N/A", "null", "None", "NaN", "nan")
"""What people write where a label is missing, as it is spelt here: ``none`` may be a class."""
DOUBTFUL = ("?", "-")
"""Labels that may be a class or mean that none is known: they are classes, and it is told."""

# What stands between words, and what nobody sees: marks of width 0 and of direction.
_BETWEEN = re.compile(r"(?<=[^\W\d_])[\s_\-\u2010-\u2015]+(?=[^\W\d_])|\s+")
_INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060\ufeff]")

# What pandas makes of whole numbers once a cell of the column is empty.
_WHOLE = r"^([+-]?[0-9]+)\.0+$"


def canonical(labels: pa.Array, markers: Iterable[str] = NO_LABEL) -> pa.Array:
    """Labels of classes as they will be known, of the same length; null where there is none.

    NFC, so that a composed letter and a decomposed one are one; 1.0 is 1, as one format writes it and another does not.

    Args:
        labels: text, nulls allowed.
        markers: what stands for no label.
    """
    composed = pc.replace_substring_regex(pc.utf8_normalize(labels, form="NFC"), _WHOLE, r"\1")
    return pc.if_else(_is_marker(labels, markers), pa.scalar(None, pa.string()), composed)


def unmarked(labels: pa.Array, markers: Iterable[str] = NO_LABEL) -> pa.Array:
    """A label column that is text, null where there is none; any other as it is."""
    if not pa.types.is_string(labels.type):
        return labels
    return pc.if_else(_is_marker(pc.utf8_trim_whitespace(labels), markers), pa.scalar(None, pa.string()), labels)


def _is_marker(labels: pa.Array, markers: Iterable[str]) -> pa.Array:
    return pc.is_in(labels, value_set=pa.array([*markers], pa.string()))


class LabelForms:
    """How often a label was written in another form than the one it is known by."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        """(as given, as known) → rows."""

    def add(self, given: pa.Array, known: pa.Array) -> None:
        """Count the rows in which the two differ."""
        differ = pc.fill_null(pc.not_equal(given, known), fill_value=False)
        pairs = pa.table([given.filter(differ), known.filter(differ)], names=["given", "known"])
        counted = pairs.group_by(["given", "known"]).aggregate([([], "count_all")])
        for row in counted.to_pylist():
            self.counts[row["given"], row["known"]] += row["count_all"]

    def facts(self) -> list[dict[str, str | int]]:
        """As a run keeps them, the most frequent first."""
        return [
            {"given": given, "label": known, "rows": rows}
            for (given, known), rows in sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        ]


def case_variants(classes: Iterable[str]) -> list[list[str]]:
    """Classes that differ in case, blanks or invisible letters alone, each group sorted: they are kept apart, and told.

    ``ice-cream``, ``ice_cream`` and ``Ice cream`` are one group.
    """
    by_fold: dict[str, list[str]] = {}
    for name in classes:
        by_fold.setdefault(_BETWEEN.sub(" ", _INVISIBLE.sub("", name)).strip().casefold(), []).append(name)
    return [sorted(names) for _, names in sorted(by_fold.items()) if len(names) > 1]


def label_facts(classes: Iterable[str], forms: LabelForms) -> dict[str, Any]:
    """What is to be told of labels: spellings that were merged, classes that look alike, and those in doubt.

    Args:
        classes: as they are known.
        forms: how they were written.
    """
    classes = list(classes)
    told = {
        "label_forms": forms.facts(),
        "case_variants": case_variants(classes),
        "doubtful_labels": [name for name in classes if name in DOUBTFUL],
    }
    return {name: value for name, value in told.items() if value}
