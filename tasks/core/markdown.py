"""Texts for the Prefect UI, which shows Markdown: in texts, in descriptions, and in the cells of its own tables too."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

# What becomes a link although nothing says so: an address with its scheme, one that begins with www, one of e-mail.
_ADDRESS = re.compile(r":(?=//)|(?<=\bwww)\.|@", re.IGNORECASE)


def as_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Rows as a Markdown table in which nothing of a cell is markup."""
    head = [escape(name) for name in columns]
    lines = [head, ["---"] * len(head), *([escape(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def as_cells(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of a table artifact in which nothing of a text is markup."""
    return [{name: escape(cell) if isinstance(cell, str) else cell for name, cell in row.items()} for row in rows]


def escape(text: str) -> str:
    """One line in which nothing is markup, and no address a link."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for letter in "\\`*_[]#|~":
        text = text.replace(letter, f"\\{letter}")
    text = _ADDRESS.sub(r"\\\g<0>", text)
    # A line break would end the row.
    return " ".join(text.split())
