"""Columns that no network reads: which names say so by themselves, and how they are told."""

from __future__ import annotations

import re
from collections.abc import Mapping

# What R writes above its row names, what pandas writes above its own or makes of them when it reads them back.
_ROW_NUMBER = re.compile(r"\s*|Unnamed: \d+(\.\d+)?|index|__index_level_\d+__")


def is_row_number(name: str) -> bool:
    """Whether a column is an index by its name: a network could learn nothing from it but the rows' order."""
    return _ROW_NUMBER.fullmatch(name) is not None


def display_name(name: str) -> str:
    """A column's name as a reader can see it: between quotes where there is nothing to see."""
    return name if name.strip() else repr(name)


def columns_by_reason(reasons: Mapping[str, str]) -> str:
    """Every column by the reason why it is not used.

    Args:
        reasons: column → reason.
    """
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(display_name(name))
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())
