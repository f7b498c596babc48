"""The few exceptions that callers catch, all in one grammar: where, what was expected, what came, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from unicodedata import category

# Control characters, invisible ones, halves of a surrogate pair, separators of lines.
_SPELT_OUT = ("Cc", "Cf", "Cs", "Zl", "Zp")


class GradsieveError(Exception):
    """An error a person can act on.

    Args:
        where: the file, column or artefact it was found in.
        expected: what would have been right.
        got: what was there instead.
        do: what to do about it.
    """

    exit_code = 1

    def __init__(self, *, where: str, expected: str, got: str, do: str) -> None:
        super().__init__(printable(f"{where}: expected {expected}, got {got}. {do}"))
        self.where, self.expected, self.got, self.do = where, expected, got, do

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions with keyword-only arguments do not unpickle by themselves; process-based task runners need it.
        return _rebuild, (type(self), self.where, self.expected, self.got, self.do)


def _rebuild(kind: type[GradsieveError], where: str, expected: str, got: str, do: str) -> GradsieveError:
    return kind(where=where, expected=expected, got=got, do=do)


class BadConfig(GradsieveError):
    """An option, or a combination of options, that cannot work."""

    exit_code = 2


class BadInput(GradsieveError):
    """The source cannot be read as a dataset: no run can start from it."""

    exit_code = 3


class TooManyRejects(BadInput):
    """More rows were quarantined than the run allows."""

    exit_code = 4


class BadModel(GradsieveError):
    """The model cannot serve the data or the gradient kind asked for."""

    exit_code = 5


class BadArtefact(GradsieveError):
    """A file of an earlier stage is missing, altered, or from another run than declared."""

    exit_code = 6


class NoDisk(GradsieveError):
    """The disk refuses: it is full, read-only, closed to this user, or broken (tasks/core/system_errors.py)."""

    exit_code = 7


def printable(text: str) -> str:
    """A text of somebody else's for a terminal: what would move the cursor or turn the text round is spelt out."""
    return "".join(ascii(each)[1:-1] if category(each) in _SPELT_OUT and each not in "\n\t" else each for each in text)


@contextmanager
def require_package(package: str, where: str, do: str) -> Iterator[None]:
    """Around an import of what is installed only where it is wanted.

    Args:
        package: its name.
        where: what wants it.
        do: how to install it, or do without.

    Raises:
        BadConfig: it is not installed, or not whole.
    """
    try:
        yield
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        raise BadConfig(
            where=where,
            expected=f"the package {package}",
            got="it is not installed" if missing else str(error),
            do=do,
        ) from error


def cause_of(error: BaseException) -> str:
    """What a library's error says, in one line: its kind, and the first line of its message."""
    return f"{type(error).__name__}: {(str(error).strip() or '-').splitlines()[0]}"
