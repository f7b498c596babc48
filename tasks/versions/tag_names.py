"""What a tag may be called: a word that is no version's, which nobody takes for another tag's."""

from __future__ import annotations

import re
from collections.abc import Iterable

from tasks.core.errors import BadConfig

CURRENT, CANDIDATE = "current", "candidate"
_TAG = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")
# Words that mean something else where a version is asked for.
_RESERVED = re.compile(r"v?\d+|latest", re.IGNORECASE)


def is_tag_name(word: str) -> bool:
    """Whether a tag may be called so."""
    return _TAG.fullmatch(word) is not None


def check_tag_name(tag: str, others: Iterable[str]) -> None:
    """Refuse what is no name for a tag, or differs from another's in case alone: SQL does not tell such names apart.

    Args:
        tag: its name.
        others: all tags that there ever were; one of them may always be moved.

    Raises:
        BadConfig: it is no name, or too much like another.
    """
    if not is_tag_name(tag) or _RESERVED.fullmatch(tag):
        raise BadConfig(
            where=f"tag {tag!r}",
            expected="a letter, then letters, digits, '.', '_' or '-'; no version's name",
            got=tag,
            do="Choose another name.",
        )
    names = {CURRENT, CANDIDATE, *others}
    like = [name for name in sorted(names) if name.lower() == tag.lower()]
    if like and tag not in names:
        raise BadConfig(
            where=f"tag {tag!r}",
            expected="a name that differs from those of the other tags in more than case",
            got=f"{tag}, beside {like[0]}",
            do=f"Name {like[0]}, or choose another name.",
        )
