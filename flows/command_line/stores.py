"""What a command that asks the lake does first: look into the stores in which the lake's versions lie."""

from __future__ import annotations

import re
import sys
import time
from pathlib import Path

# Views over the rows of a version: data."digits@current".
_ROWS = re.compile(r'"([^"@]+)@([^"]+)"')
# A store that has not answered is left alone so long, in seconds, and one that has is asked no more often.
_SILENCE, _PAUSE = 60.0, 2.0
_next: dict[Path, float] = {}


def look_into_stores(lake: Path, query: str = "") -> bool:
    """Bring the lake up to date with stores elsewhere, and the rows that a query asks for; whether something came.

    Stores that do not answer are named in the standard error, and what the lake last saw is what there is.

    Args:
        lake: that remembers the stores.
        query: of which the views of versions are brought; once, and told with their size.
    """
    lake = lake.expanduser().resolve()
    if not any((lake / "versions").glob("[!.]*/store.json")):
        return False
    from tasks.catalogue.database import build
    from tasks.versions.mirror import refresh

    changes = 0
    if time.monotonic() >= _next.get(lake, 0.0):
        changes, silent = refresh(lake)
        _next[lake] = time.monotonic() + (_SILENCE if silent else _PAUSE)
        for sentence in silent:
            print(sentence, file=sys.stderr)
    changes += sum(_bring(lake, *names) for names in dict.fromkeys(_ROWS.findall(query)))
    return bool(changes) and build(lake)


def _bring(lake: Path, dataset: str, name: str) -> int:
    """The rows of a version or tag into the lake; bytes that were copied."""
    from tasks.core.errors import GradsieveError
    from tasks.versions.address import remembered
    from tasks.versions.history import History
    from tasks.versions.mirror import bring

    try:
        address = remembered(lake, dataset)
        if address is None:
            return 0
        history = History(address.open(), dataset)
        manifest = history.resolve(name)
        size = bring(history, lake, manifest)
    except (GradsieveError, OSError) as error:
        # What has no rows here has no view, and that is said of the query; this is why.
        print(f"{dataset}@{name}: {error}", file=sys.stderr)
        return 0
    if size:
        print(f"{dataset} {manifest.version}: {size / 1e6:,.1f} MB copied from {address}, once", file=sys.stderr)
    return size
