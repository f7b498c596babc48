"""Quotes of a CSV file that do not pair: the parser would take many lines for one cell."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple


class OpenQuote(NamedTuple):
    """A quote that is not closed where its cell ends; lines count from 1."""

    line: int
    """Where it stands; 0 of none."""
    last: int
    """The line on which that shows: the last one, or one whose own cell the quote takes for its end."""
    closed: bool = False
    """Whether a quote ends it there."""


class Quotes:
    """What opens and closes a quoted cell, read as pyarrow reads it.

    Args:
        delimiter: between cells; a quote opens a cell where the cell begins, and is a character anywhere else.
        escape: what takes a quote's meaning away, beside a second quote.
    """

    def __init__(self, delimiter: str, escape: str | None = None) -> None:
        d = re.escape(delimiter)
        self.opening = re.compile(rf'(?:\A\ufeff?|{d})"')
        # The rest of a quoted cell and the quote that closes it; two quotes stand for one.
        inside = r'[^"]++|""' if escape is None else rf'[^"{re.escape(escape)}]++|{re.escape(escape)}.|""'
        self.closing = re.compile(rf'(?:{inside})*+"', re.DOTALL)
        # A line whose cells are whole, as nearly all are: one look instead of two for each cell.
        cell = rf'(?:"(?:{inside})*+"|[^"{d}]*+)'
        self.whole = re.compile(rf"\ufeff?{cell}(?:{d}{cell})*+[\r\n]*", re.DOTALL)
        self.end_of_cell = re.compile(rf"[ \t]*(?:{d}|[\r\n]|\Z)")
        self.began = 0
        """The line on which a quote is open; 0 while none is."""

    def read(self, line: str, number: int) -> OpenQuote | None:
        """Follow the quotes of a line; an earlier line's quote that ends within a cell of this one is wrong."""
        if '"' not in line or (not self.began and self.whole.fullmatch(line)):
            return None
        at = 0
        while match := (self.closing.match(line, at) if self.began else self.opening.search(line, at)):
            began, at = self.began, match.end()
            if began and began < number and not self.end_of_cell.match(line, at):
                return OpenQuote(began, number, closed=True)
            self.began = 0 if began else number
        return None


def open_quote(lines: Iterable[str], delimiter: str, escape: str | None = None) -> OpenQuote:
    """The first quote of a text that is not closed where its cell ends.

    Args:
        lines: the text.
        delimiter: between its cells.
        escape: what takes a quote's meaning away, beside a second quote.
    """
    quotes, number = Quotes(delimiter, escape), 0
    for number, line in enumerate(lines, 1):
        if (wrong := quotes.read(line, number)) is not None:
            return wrong
    return OpenQuote(quotes.began, number)
