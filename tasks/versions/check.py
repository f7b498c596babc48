"""What came of looking at one thing again."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Check(NamedTuple):
    """One thing that was looked at again."""

    what: str
    state: Literal["ok", "wrong", "unknown", "attested"]
    """unknown: what it would have to be compared with is not here any more. attested: it stands there as it was
    written, and there is nothing it could be recomputed from"""
    detail: str
