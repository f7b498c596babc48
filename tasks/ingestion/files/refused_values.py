"""Values and types of a source that no library of ours can carry, in words: intervals, unions, years beyond 9999."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from tasks.core.errors import BadInput, cause_of

# Of those that Arrow raises only these are about what is read; OverflowError is Python's, of times and dates.
_KINDS = (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError)


@contextmanager
def refused_values(where: str) -> Iterator[None]:
    """Around what reads a source.

    Args:
        where: the source.

    Raises:
        BadInput: it holds what cannot be carried into samples.
    """
    try:
        yield
    except Exception as error:
        if not isinstance(error, _KINDS) and type(error).__name__ != "UnknownTimeZoneError":
            raise
        raise BadInput(
            where=where,
            expected="values that samples can hold: numbers, text, times of this calendar, and lists of them",
            got=cause_of(error),
            do="Leave that column out of the file, or write it as text.",
        ) from error
