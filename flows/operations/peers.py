"""Machines that serve one database beside this one: whether they are still there, and that this one still is for them.

Prefect's workers write a heartbeat into the database every ten seconds, and a run's labels name the worker that it was
handed to. A machine whose worker cannot do so any longer ends that worker, and with it its runs, after 90 seconds; the
others put those runs in line again after 300 in which they have seen no heartbeat. So none is worked on twice. Each
counts by its own clock, from when it saw the last heartbeat: that clocks agree is not needed.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL
from typing import Any
from uuid import uuid4

from flows.operations.server_api import ServerApi
from tasks.pipeline.durable_files import write_durably

END_SECONDS, GONE_SECONDS = 90, 300
SETTINGS = {"PREFECT_WORKER_HEARTBEAT_SECONDS": "10"}
_LABEL = "prefect.worker.name"
# Workers that others start by themselves end no runs: of their names nothing is concluded.
_MARK = "gradsieve serve on "


def _boot_seconds() -> float:
    """A clock that nobody sets and that goes on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass
class Peers:
    """What this machine has seen of all workers of a pool, its own among them."""

    machine: str
    """This one's name; its workers' begin with it."""
    clock: Callable[[], float] = _boot_seconds
    _since: dict[str, tuple[str, float]] = field(default_factory=dict)
    """Worker, or run → its heartbeat, or state, and since when it is that."""
    _own: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, home: Path) -> Peers:
        """Of whoever serves on this machine, and has its state in a folder, which keeps a name of its own.

        Machines may have the same host name, as containers of one file do, and have the lake under the same path.
        """
        path = home / "machine"
        if not path.exists():
            write_durably(path, f"{uuid4().hex[:8]}\n")
        return cls(f"{_MARK}{socket.gethostname()} ({path.read_text(encoding='utf-8').strip()})")

    def worker_name(self, name: str) -> str:
        """The name for Prefect of a worker of this machine, the same after each start."""
        return f"{self.machine}, {name}"

    def expect(self, name: str) -> None:
        """A worker begins: from now on its heartbeats are due."""
        worker = self.worker_name(name)
        self._own.add(worker)
        self._since[worker] = (self._since.get(worker, ("", 0.0))[0], self.clock())

    def look(self, api: ServerApi, pool: str, runs: list[dict[str, Any]]) -> None:
        """See which heartbeats are others than before, and which runs have been in their state for how long."""
        workers = api.ask(f"work_pools/{pool}/workers/filter", limit=200)  # those heard of last
        values = dict.fromkeys([*self._own, *filter(None, map(_worker_of, runs))], "")
        values |= {worker["name"]: worker["last_heartbeat_time"] for worker in workers}
        values |= {run["id"]: run["state_id"] for run in runs}
        now = self.clock()
        self._since = {key: (value, self._when(key, value, now)) for key, value in values.items()}

    def _when(self, key: str, value: str, now: float) -> float:
        before, since = self._since.get(key, ("", now))
        # Who was silent for too long ends its runs, though it be heard again: others may have begun them.
        too_late = key in self._own and now - since > END_SECONDS
        return since if value == before or too_late else now

    def _seconds(self, key: str) -> float:
        return self.clock() - self._since[key][1] if key in self._since else 0.0

    def is_ours(self, run: dict[str, Any]) -> bool:
        """Whether the run was handed to a worker of this machine last."""
        return (_worker_of(run) or "").startswith(f"{self.machine}, ")

    def is_abandoned(self, run: dict[str, Any]) -> bool:
        """Whether the run's machine is another one and gone; of one that nobody has begun, whether it waits so long."""
        worker = _worker_of(run)
        if self.is_ours(run) or self._seconds(run["id"]) < GONE_SECONDS:
            return False
        if worker is None:
            # Of one that is to be cancelled nobody would say that it is.
            return run["state_type"] in ("PENDING", "CANCELLING")
        return worker.startswith(_MARK) and self._seconds(worker) >= GONE_SECONDS

    def is_cut_off(self, name: str) -> bool:
        """Whether no heartbeat of a worker of this machine has been in the database for so long that it must end."""
        return self._seconds(self.worker_name(name)) > END_SECONDS

    def guard(self, children: Mapping[str, subprocess.Popen[bytes]], stop_event: threading.Event) -> None:
        """End workers that are cut off, from a thread: who asks a server that has lost its database may wait long.

        It begins with a start that may have taken minutes, in which nobody looked.
        """
        now = self.clock()
        self._since |= {worker: (self._since[worker][0], now) for worker in self._own}

        def watch() -> None:
            while not stop_event.wait(1):
                for name, child in tuple(children.items()):
                    if name.startswith("worker") and child.poll() is None and self.is_cut_off(name):
                        with suppress(ProcessLookupError):
                            os.killpg(child.pid, SIGKILL)

        threading.Thread(target=watch, daemon=True).start()


def _worker_of(run: dict[str, Any]) -> str | None:
    """Whom a run was handed to last; None if that is not known.

    A worker takes a run, which is *Pending* then, writes its name upon it, and calls it *Submitting*. Between the first
    two it has the name of whose it was before, who must not take it for its own.
    """
    return None if run["state_name"] == "Pending" else _label_of(run)


def _label_of(run: dict[str, Any]) -> str | None:
    return (run["labels"] or {}).get(_LABEL)


def is_handed_on(run: str, environment: Mapping[str, str]) -> bool:
    """Whether a run that a worker of such a machine begins has been handed to another meanwhile.

    Args:
        run: its id.
        environment: as a worker sets it.
    """
    worker = environment.get("PREFECT__WORKER_NAME", "")
    if not worker.startswith(_MARK):
        return False
    api = ServerApi(environment["PREFECT_API_URL"], environment.get("PREFECT_API_AUTH_STRING"))
    found = api.ask(f"flow_runs/{run}", "GET")
    return _label_of(found) != worker or found["state_type"] in ("RUNNING", "PAUSED")
