"""Whether a process that was known by its id is still the same: ids are given anew, in containers within minutes."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

_PROC = Path("/proc")
# Of a process's line in /proc, counted from behind its name: clock ticks from the machine's start to its own.
_START_FIELD = 19


def is_process(identifier: str | None, latest: datetime) -> bool:
    """Whether there is such a process of this user which had begun by then.

    Args:
        identifier: its id, as Prefect knows it.
        latest: when it must have begun; who has the id and began later was given it anew.
    """
    try:
        number = int(identifier or "")
        os.kill(number, 0)
    except (ValueError, OverflowError, ProcessLookupError, PermissionError):
        return False
    begun = _begun(number)
    return begun is None or begun <= latest


def _begun(number: int) -> datetime | None:
    """When it began; None where the system does not say so in files."""
    try:
        line = (_PROC / str(number) / "stat").read_text(encoding="utf-8", errors="replace")
        machine = (_PROC / "stat").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    ticks = int(line.rpartition(")")[2].split()[_START_FIELD])
    (boot,) = (int(each.split()[1]) for each in machine if each.startswith("btime "))
    return datetime.fromtimestamp(boot + ticks / os.sysconf("SC_CLK_TCK"), UTC)
