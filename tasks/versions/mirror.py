"""What the lake knows of versions that lie elsewhere: manifests, decisions and tags, for SQL and for summaries."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from tasks.core.errors import BadArtefact, BadConfig
from tasks.versions.history import CURRENT, History
from tasks.versions.object_store import Objects

# In this order: what a manifest names is there before it is.
_PATTERNS = (r"contents/[0-9a-f]+/decisions\.parquet", r"v\d{4,}\.json", r"tags/[^/]+/\d{6}\.json")


def mirror_of(history: History, lake: Path) -> History | None:
    """The lake's own copy of a history; None where the versions lie in the lake themselves."""
    mirror = History(Objects(lake / "versions"), history.dataset)
    return None if mirror.objects.where == history.objects.where else mirror


def check(history: History, lake: Path) -> None:
    """Refuse to mix two histories under one name.

    Raises:
        BadConfig: the lake shows a version of this dataset that is another one where it is published now.
    """
    mirror = mirror_of(history, lake)
    if mirror is not None and mirror.numbers() and not _same(history, mirror):
        raise BadConfig(
            where=f"store {history.objects.where}",
            expected=f"the versions of {history.dataset} that the lake shows",
            got="others" if history.numbers() else "none",
            do="Name the store they were published in, or another dataset with --dataset, or another lake with --lake.",
        )


def shows(history: History, lake: Path) -> bool:
    """Whether the lake shows this history: its own, or one that it has a copy of."""
    if not (lake / "versions" / history.dataset).is_dir():
        return False
    mirror = mirror_of(history, lake)
    return mirror is None or (bool(mirror.numbers()) and _same(history, mirror))


def _same(history: History, mirror: History) -> bool:
    """Whether one is a copy of the other, also of a time whose versions have all been cleared away since."""
    common = set(history.numbers()) & set(mirror.numbers())
    if common:
        return history.manifest(max(common)) == mirror.manifest(max(common))
    first = history.moves(CURRENT)[:1]
    return bool(first) and first == mirror.moves(CURRENT)[:1]


def mirror_now(history: History, lake: Path) -> int:
    """Bring the lake's copy up to date; how many objects were copied or are gone."""
    mirror = mirror_of(history, lake)
    if mirror is None:
        return 0
    home = f"{history.dataset}/"
    theirs = {entry.name: entry.size for entry in history.objects.list(history.dataset)}
    ours = {entry.name for entry in mirror.objects.list(history.dataset)}
    missing = [name for pattern in _PATTERNS for name in theirs if _is(name, home, pattern) and name not in ours]
    obsolete = [
        name for pattern in reversed(_PATTERNS) for name in ours if _is(name, home, pattern) and name not in theirs
    ]
    with tempfile.TemporaryDirectory(prefix="gradsieve-") as scratch:
        for name in missing:
            try:
                if name.endswith(".json"):
                    mirror.objects.create(name, history.objects.read(name))
                else:
                    mirror.objects.keep(name, history.objects.file(name, Path(scratch)))
            except BadArtefact:
                # Cleared away since it was listed, its manifest before its decisions: neither is to be shown.
                if history.objects.size(name) is not None:
                    raise
    mirror.objects.delete(obsolete)
    return len(missing) + len(obsolete)


def _is(name: str, home: str, pattern: str) -> bool:
    return re.fullmatch(pattern, name.removeprefix(home)) is not None
