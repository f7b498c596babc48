"""Text to words, in any script, for the tokenizer that needs no file."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import zip_longest
from typing import Any

from tasks.core.errors import BadConfig

EARLIEST, LATEST = 1, 2
"""The ways there have been to part words; a payload names its own, so that a version reads as it was written."""

_ASCII = re.compile(r"\w+|[^\w\s]")


def words_of(text: str, edition: int = LATEST) -> list[str]:
    """The words and marks of a text, in order, each as it is hashed.

    A word is letters with all their combining marks, digits and underscores. Scripts without spaces between words (Han,
    kana, Thai, Lao, Khmer, Myanmar …) give each character, as users perceive it, and each pair of neighbours: one tells
    little of a Thai word, and two are rare where characters are words. An emoji is one mark, whatever it is composed
    of. Text is normalised (NFKC), so that no encoding of a word differs from another, and folded in case. ASCII parts
    as it did in the first edition.

    Args:
        text: any.
        edition: 1 is by letters and digits alone: a combining mark parts a word there, and a Chinese sentence is one.

    Raises:
        BadConfig: a later gradsieve wrote the edition.
    """
    if edition > LATEST:
        raise BadConfig(
            where="the tokenizer words",
            expected=f"an edition up to {LATEST}, which this gradsieve knows",
            got=str(edition),
            do="Read these samples with the gradsieve that wrote them, or a later one.",
        )
    if edition == EARLIEST or text.isascii():
        return _ASCII.findall(text.lower())
    patterns = _patterns()
    folded = unicodedata.normalize("NFKC", patterns.ignored.sub("", text)).casefold()
    words: list[str] = []
    for match in patterns.part.finditer(folded):
        words += _with_pairs(patterns.character.findall(match[0])) if match.lastgroup else [match[0]]
    return words


def _with_pairs(characters: list[str]) -> list[str]:
    """Each character and, behind it, the pair that it begins: what is cut at a length loses as much of both."""
    return [word for a, b in zip_longest(characters, characters[1:]) for word in ((a, a + b) if b else (a,))]


class _Patterns:
    """Compiled when the first text asks for them: most are ASCII."""

    def __init__(self) -> None:
        import regex

        spaceless = r"[\p{Han}\p{scx=Hira}\p{scx=Kana}\p{Line_Break=Complex_Context}]"
        self.part: Any = regex.compile(
            rf"(?P<run>[\w&&{spaceless}][[\w&&{spaceless}]\p{{M}}]*)"
            rf"|(?=[\p{{Extended_Pictographic}}\p{{Regional_Indicator}}])\X|[\w--{spaceless}]+|[^\w\s\p{{Cf}}]",
            regex.V1,
        )
        self.character: Any = regex.compile(r"\X", regex.V1)
        # Soft hyphens, marks of direction and of byte order are not seen; joiners spell words, and a zero width space
        # parts them.
        self.ignored: Any = regex.compile(r"[\p{Cf}--[\u200b\u200c\u200d]]", regex.V1)


@cache
def _patterns() -> _Patterns:
    return _Patterns()
