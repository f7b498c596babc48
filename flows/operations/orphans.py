"""Runs whose process is gone: Prefect leaves them *Running* or *Crashed* for ever; here they are put in line again."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from flows.operations import run_lease
from flows.operations.server_api import ServerApi

# A run that took its machine down with it so often is not begun again.
_TRIES = 3
_AGAIN = "Its process was gone; in line again"
# How a worker reports a run whose process did not end by itself, in Prefect's words. A run's own process, which tells
# why it ends, says it otherwise.
_GONE = (
    "Process exited with status code",
    "Flow run infrastructure exited with non-zero status code",
    "Flow run could not start",
    "Failed to submit flow run to infrastructure",
)
# Who crashed before has been seen by a person.
_CRASHED_HOURS = 24


@dataclass(frozen=True)
class Orphanage:
    """The runs of a pool whose processes are, or were, on this machine."""

    api: ServerApi
    """Of the server that knows them."""
    pool: str
    home: Path
    """Where their processes take their leases."""

    def alive(self) -> set[str]:
        """Ids of the runs at work."""
        return {run["id"] for run in self._at_work() if self._lives(run)}

    def resume_later(self, runs: set[str] | None = None, settled: float = 0) -> None:
        """Put runs whose process is gone in line again: what their stages had finished is not computed again.

        Args:
            runs: only of these, by id; default: of all, which is right where nobody else works on this database.
            settled: only of those that have been in their state for so many seconds. One that begins, or goes on after
                a pause, has not said yet which process it is.
        """
        begun = datetime.now(UTC) - timedelta(seconds=settled)
        gone = [run for run in self._at_work() if not self._lives(run)]
        if settled:
            gone = [run for run in gone if datetime.fromisoformat(run["state"]["timestamp"]) <= begun]
        for run in gone + self._crashed():
            if runs is None or run["id"] in runs:
                self._resume(run)

    def _resume(self, run: dict[str, Any]) -> None:
        states = self.api.ask(f"flow_run_states/?flow_run_id={run['id']}", "GET")
        tries = sum((state["message"] or "").startswith(_AGAIN) for state in states)
        if run["state_type"] == "CANCELLING":
            state: dict[str, Any] = {"type": "CANCELLED", "message": "Its process is gone."}
        elif tries < _TRIES:
            state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": f"{_AGAIN}, {tries + 1} of {_TRIES}."}
            state |= {"state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
        elif run["state_type"] == "CRASHED":
            return
        else:
            state = {"type": "CRASHED", "message": f"Its process was gone {_TRIES + 1} times."}
        self.api.ask(f"flow_runs/{run['id']}/set_state", state=state, force=True)

    def _at_work(self) -> list[dict[str, Any]]:
        return self._runs(state={"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}})

    def _crashed(self) -> list[dict[str, Any]]:
        """Those that a worker has reported, lately."""
        lately = (datetime.now(UTC) - timedelta(hours=_CRASHED_HOURS)).isoformat()
        runs = self._runs(state={"type": {"any_": ["CRASHED"]}}, end_time={"after_": lately})
        return [run for run in runs if (run["state"]["message"] or "").startswith(_GONE)]

    def _runs(self, **about: Any) -> list[dict[str, Any]]:
        pools = {"name": {"any_": [self.pool]}}
        runs = self.api.ask("flow_runs/filter", flow_runs=about, work_pools=pools, limit=200)
        # A run within a run goes with the one above it.
        return [run for run in runs if run["parent_task_run_id"] is None]

    def _lives(self, run: dict[str, Any]) -> bool:
        """Whether a run's process is there; one that has no lease, of another command, by its id."""
        return run_lease.is_held(self.home, run["id"]) or _is_process(run["infrastructure_pid"])


def _is_process(identifier: str | None) -> bool:
    """Whether there is such a process: Prefect may write the machine's name before its id."""
    try:
        os.kill(int((identifier or "").rpartition(":")[2]), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass  # somebody else's by now, and perhaps not it; it is looked at again
    return True
