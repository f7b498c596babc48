"""What Prefect keeps of runs: for how long, and how the room of what has gone is given back."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

_MIB = 1 << 20
# A file that is written anew gives back at least so much, and a quarter of itself.
_WORTH_MIB, _WORTH_SHARE = 8, 0.25


def server_variables(days: float) -> dict[str, str]:
    """Settings by which a server deletes runs that ended so many days ago, their logs and artifacts, and events.

    Events go after a week, as is Prefect's default, or earlier where runs do.
    """
    seconds = days * 86_400
    return {
        "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs,orphans",
        "PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD": str(int(seconds)),
        "PREFECT_SERVER_EVENTS_RETENTION_PERIOD": f"PT{int(min(seconds, 7 * 86_400))}S",
    }


def shrink(database: Path) -> float:
    """Write an SQLite file anew if much of it is empty, while nobody else uses it; the MiB that gives back."""
    if not database.exists():
        return 0.0
    with closing(sqlite3.connect(database)) as connection:
        (free,), (pages,), (size,) = (
            connection.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_count", "page_size")
        )
        if free * size < _WORTH_MIB * _MIB or free < _WORTH_SHARE * pages:
            return 0.0
        connection.execute("VACUUM")
    return free * size / _MIB
