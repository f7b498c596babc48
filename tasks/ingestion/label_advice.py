"""Labels that are no classes by the look of them: numbers that measure something, values that each stand once."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pyarrow as pa
import pyarrow.compute as pc

from tasks.dataset.encoders import cells
from tasks.dataset.targets.number import NUMBER
from tasks.ingestion.rejects import CORRECT

FEW_NUMBERS = 20
"""Different numbers that may always be classes."""
# Rows to each different number below which numbers measure something, as a rule.
_ROWS_EACH = 10
# The share of rows whose label no other row has: an id's, a note's.
_ONCE = 0.9
REGRESSION = "For regression set --reader.target number; else choose another label column with --reader.label."
_ANOTHER = (
    "Nearly every value of the label column stands once, as ids and notes do: choose another one with --reader.label."
)


def may_measure(distinct: int, rows: int) -> bool:
    """Whether so many different numbers in so many rows are meant as such, as a rule, and not as classes."""
    return distinct > FEW_NUMBERS and distinct * _ROWS_EACH > rows


def numbers_note(counts: Mapping[str, int]) -> str | None:
    """What there is to tell of labels that are numbers and hardly classes; None of others.

    Args:
        counts: label → rows.
    """
    rows = sum(counts.values())
    if not may_measure(len(counts), rows) or not _are_numbers(counts):
        return None
    told = f"the labels are {len(counts):,} different numbers in {rows:,} rows, each taken for a class"
    return f"{told}: --reader.target number is meant for what measures something"


def label_advice(counts: Mapping[str, int]) -> str:
    """What is to be done where too many rows are rejected for their labels.

    Args:
        counts: label → rows, of classes.
    """
    if numbers_note(counts):
        return REGRESSION
    once = sum(count == 1 for count in counts.values())
    return _ANOTHER if len(counts) > FEW_NUMBERS and once > _ONCE * sum(counts.values()) else CORRECT


def _are_numbers(labels: Iterable[str]) -> bool:
    """Whether all are numbers, as people write them."""
    words = pa.array([*labels], pa.string())
    words = words.filter(pc.invert(pc.match_substring_regex(words, NUMBER)))
    return not len(words) or any(pc.all(cells.is_written(words, form)).as_py() for form in cells.FORMS)
