"""Forked children: each does one thing, perhaps meets with harm, and says what came of it."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

from tasks.core.errors import GradsieveError
from tests.benchmarks.torture.faults import Fault, Shim

SECONDS = 300
"""What a child may take before it is said to hang."""


class Outcome(NamedTuple):
    """How a child ended."""

    state: Literal["done", "refused", "raised", "killed", "hung", "died"]
    """refused: by an error of ours. raised: by any other. killed: by the fault. died: by anything else."""
    value: Any = None
    text: str = ""
    """Of an error: its kind, and what it says."""
    trace: str = ""
    deeds: int = 0
    """How many deeds on files there were."""

    @property
    def told(self) -> str:
        """For a person: what happened, and where it came from."""
        frames = [line.strip() for line in self.trace.splitlines() if line.startswith('  File "') and "/tasks/" in line]
        return f"{self.state}: {self.text[:300]}{f' ({frames[-1]})' if frames else ''}"


def in_child(
    act: Callable[[], Any],
    root: Path | None = None,
    fault: Fault = Fault(),  # noqa: B008  immutable
    trace: Path | None = None,
    seconds: float = SECONDS,
) -> Outcome:
    """Call ``act`` in a child whose deeds below ``root`` are counted; its result must be fit for JSON."""
    child, reading = start(act, root, fault, trace)
    return finish(child, reading, seconds)


def start(
    act: Callable[[], Any],
    root: Path | None = None,
    fault: Fault = Fault(),  # noqa: B008  immutable
    trace: Path | None = None,
) -> tuple[int, int]:
    """Begin; the child, and where it will be read from."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reading)
        gc.disable()
        _be_child(act, root, fault, trace, writing)
    os.close(writing)
    return child, reading


def finish(child: int, reading: int, seconds: float = SECONDS) -> Outcome:
    """Wait for a child and read what it says."""
    said, deadline = b"", time.monotonic() + seconds
    while True:
        ready, _, _ = select.select([reading], [], [], max(0, deadline - time.monotonic()))
        chunk = os.read(reading, 1 << 16) if ready else b""
        said += chunk
        if not chunk:
            break
    if hung := not ready:
        os.kill(child, signal.SIGKILL)
    os.close(reading)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if hung:
        return Outcome("hung", text=f"nothing came of it in {seconds:g} s")
    if said:
        return Outcome(*json.loads(said))
    return Outcome("killed" if code == -signal.SIGKILL else "died", text=f"exit code {code}")


def _be_child(act: Callable[[], Any], root: Path | None, fault: Fault, trace: Path | None, writing: int) -> None:
    shim = Shim() if root is not None else None
    log = -1 if trace is None else os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    if shim and root:
        shim.arm(root, fault, log)
    try:
        outcome = Outcome("done", act())
    except GradsieveError as error:
        outcome = Outcome("refused", None, f"{type(error).__name__}: {error}", traceback.format_exc())
    except BaseException as error:  # noqa: BLE001  whatever it is, it is told
        outcome = Outcome("raised", None, f"{type(error).__name__}: {error}", traceback.format_exc())
    deeds = shim.disarm() if shim else 0
    with os.fdopen(writing, "w") as pipe:
        json.dump(outcome._replace(deeds=deeds), pipe, default=str)
    os._exit(0)
