"""Runs whose process is gone: Prefect leaves them *Running* for ever; here they are put in line again."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import Any

from flows.operations.server_api import ServerApi

# A run that took its machine down with it so often is not begun again.
_TRIES = 3


def alive(api: ServerApi, pool: str) -> set[str]:
    """Ids of the pool's runs at work in processes of this machine."""
    return {run["id"] for run in _at_work(api, pool) if _lives(run["infrastructure_pid"])}


def resume_later(api: ServerApi, pool: str, runs: set[str] | None = None, settled: float = 0) -> None:
    """Put runs whose process is gone in line again: what their stages had finished is not computed again.

    Args:
        api: of the server that knows them.
        pool: whose runs.
        runs: only of these, by id; default: of all, which is right where nobody else works on this database.
        settled: only of those that have been in their state for so many seconds. One that begins, or goes on after a
            pause, has not said yet which process it is.
    """
    begun = datetime.now(UTC) - timedelta(seconds=settled)
    for run in _at_work(api, pool):
        if (runs is not None and run["id"] not in runs) or _lives(run["infrastructure_pid"]):
            continue
        if settled and datetime.fromisoformat(run["state"]["timestamp"]) > begun:
            continue
        state: dict[str, Any] = {"type": "CRASHED", "message": f"Its process was gone {_TRIES} times."}
        if run["state_type"] == "CANCELLING":
            state = {"type": "CANCELLED", "message": "Its process is gone."}
        elif run["run_count"] < _TRIES:
            state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": "Its process was gone."}
            state |= {"state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
        api.ask(f"flow_runs/{run['id']}/set_state", state=state, force=True)


def _at_work(api: ServerApi, pool: str) -> list[dict[str, Any]]:
    states = {"type": {"any_": ["PENDING", "RUNNING", "CANCELLING"]}}
    runs = api.ask("flow_runs/filter", flow_runs={"state": states}, work_pools={"name": {"any_": [pool]}}, limit=200)
    # A run within a run goes with the one above it.
    return [run for run in runs if run["parent_task_run_id"] is None]


def _lives(process: str | None) -> bool:
    """Whether a flow run's process is there: Prefect may write the machine's name before its id."""
    try:
        os.kill(int((process or "").rpartition(":")[2]), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        pass  # somebody else's by now, and perhaps not it; it is looked at again
    return True
