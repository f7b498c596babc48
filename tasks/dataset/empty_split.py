"""A split that must have samples and has none."""

from __future__ import annotations

from collections.abc import Mapping

from tasks.core.errors import BadInput


def empty_split(split: str, counts: Mapping[str, int]) -> BadInput:
    """The refusal of samples of which none is in a split.

    Args:
        split: that is empty.
        counts: split → samples.
    """
    remedy = f"Name a split column or a {split} file"
    return BadInput(
        where=f"split {split!r}",
        expected="at least one sample",
        got=f"none ({', '.join(f'{name} {n:,}' for name, n in counts.items())})",
        do=f"{remedy}." if split == "train" else f"{remedy}, or set {split}_share above 0.",
    )
