"""Who works on a flow run: one process at a time, known to all of this machine for as long as it lives.

A lease is a lock on one byte of one file, the byte that the run's id names. It ends with its process, however that
ends; unlike a process id it is there before Prefect has written any, and never somebody else's.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from typing import IO
from uuid import UUID

# Who asks whether a lease is held holds it for a moment.
_PATIENCE_SECONDS = 2.0


def take(home: Path, run: str) -> IO[bytes] | None:
    """The lease of a run, as long as this is kept and its process lives; None if another process has it.

    Args:
        home: a folder that all who may work on the run share.
        run: its id.
    """
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (lease := _lock(home, run)) is None and time.monotonic() < deadline:
        time.sleep(0.1)
    return lease


def is_held(home: Path, run: str) -> bool:
    """Whether a process of this machine works on a run."""
    lease = _lock(home, run)
    if lease is None:
        return True
    lease.close()
    return False


def _lock(home: Path, run: str) -> IO[bytes] | None:
    home.mkdir(parents=True, exist_ok=True)
    file = os.fdopen(os.open(home / "leases", os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    try:
        # As far as a file can reach: the last 62 bits. The first ones are the time, and the same for runs that are
        # scheduled together.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, UUID(run).int & ((1 << 62) - 1))
    except OSError:
        file.close()
        return None
    return file
