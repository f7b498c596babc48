"""Lines of a text, none of them without end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO, AnyStr

from tasks.core.errors import BadInput


def bounded_lines(stream: IO[AnyStr], file: Path, most: int, expected: str, do: str) -> Iterator[AnyStr]:
    """The lines of a stream.

    Args:
        stream: letters or bytes.
        file: where they stand.
        most: letters or bytes that a line may have.
        expected: the same in words.
        do: what there is to do about a longer one.

    Raises:
        BadInput: one is longer, or does not end.
    """
    number = 0
    while line := stream.readline(most):
        number += 1
        if len(line) == most:
            raise BadInput(where=f"{file}, line {number:,}", expected=expected, got="one that is longer", do=do)
        yield line
