"""Tables for the Prefect UI, which shows Markdown."""

from __future__ import annotations

from collections.abc import Iterable


def as_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Rows as a Markdown table in which nothing of a cell is markup."""
    head = [escape(name) for name in columns]
    lines = [head, ["---"] * len(head), *([escape(text) for text in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def escape(text: str) -> str:
    """One line in which nothing is markup."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    for letter in "\\`*_[]#|~":
        text = text.replace(letter, f"\\{letter}")
    # A line break would end the row.
    return " ".join(text.split())
