"""Runs whose process is gone: Prefect leaves them *Running* or *Crashed* for ever; here they are put in line again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

from flows.operations import run_lease
from flows.operations.peers import Peers
from flows.operations.processes import is_process
from flows.operations.server_api import ServerApi

# A run that took its machine down with it so often is not begun again.
_TRIES = 3
_AGAIN = "Its process was gone; in line again"
# What is no failure of the run is not counted.
_STOPPED = "Stopped with gradsieve serve; in line again."
_WAITED = "Its process was gone while it waited for a person; in line again."
# How a worker reports a run whose process did not end by itself, in Prefect's words. A run's own process, which tells
# why it ends, says it otherwise.
_GONE = (
    "Process exited with status code",
    "Flow run infrastructure exited with non-zero status code",
    "Flow run could not start",
    "Failed to submit flow run to infrastructure",
    # Rich exits so, from within the run, when nobody is left to read what is logged: its worker was killed.
    "Execution was aborted by Python system exit call",
    # The server was away for longer than Prefect's clients have patience for, a minute.
    "Request to ",
    "Request failed while attempting to contact the server",
    # The same where a flow asks by itself, as one does that waits for a person: it fails then.
    *(
        f"Flow run encountered an exception: {name}"
        for name in ("Connect", "ReadError", "ReadTimeout", "RemoteProtocol")
    ),
)
# Who crashed before has been seen by a person.
_CRASHED_HOURS = 24
# Prefect's API tells of no more than so many at a time.
_AT_A_TIME = 200
# A worker reports one end twice, the second time after a moment.
_REPORT_SECONDS = 5
# How long after its run is pending, and after it is at work, a process may have begun: clocks count whole seconds.
_BEGIN_SECONDS = {"PENDING": 120}
_SLACK_SECONDS = 2


@dataclass(frozen=True)
class Orphanage:
    """The runs of a pool whose processes are, or were, on this machine."""

    api: ServerApi
    """Of the server that knows them."""
    pool: str
    home: Path
    """Where their processes take their leases."""
    peers: Peers | None = None
    """Who else starts runs of this pool; None: nobody. Of theirs only those are looked after whose machine is gone."""

    def alive(self) -> set[str]:
        """Ids of the runs at work, and of those that wait for a person with a process."""
        return {run["id"] for run in self._at_work() if self._is_ours(run) and self._lives(run)}

    def resume_later(self, runs: set[str] | None = None, settled: float = 0, *, stopped: bool = False) -> None:
        """Put runs whose process is gone in line again: what their stages had finished is not computed again.

        Args:
            runs: only of these, by id; default: of all, which is right where nobody else works on this database.
            settled: only of those that have been in their state for so many seconds. One that begins, or goes on after
                a pause, has not said yet which process it is.
            stopped: they were stopped on purpose, which counts for none of their tries.
        """
        at_work = self._at_work()
        if self.peers is not None:
            self.peers.look(self.api, self.pool, at_work)
        gone = [run for run in at_work if (runs is not None or self._is_ours(run)) and _age(run) >= settled]
        gone = [run for run in gone if not self._lives(run)] + [run for run in at_work if self._is_abandoned(run)]
        # Any worker's: it has said itself that the process is gone.
        for run in gone + [run for run in self._crashed() if _age(run) >= min(settled, _REPORT_SECONDS)]:
            if runs is None or run["id"] in runs:
                self._resume(run, stopped)

    def _resume(self, run: dict[str, Any], stopped: bool) -> None:
        tries = self._tries(run)
        uncounted = _STOPPED if stopped else _WAITED if run["state_type"] == "PAUSED" else None
        if run["state_type"] == "CANCELLING":
            state: dict[str, Any] = {"type": "CANCELLED", "message": "Its process is gone."}
        elif uncounted or tries < _TRIES:
            message = uncounted or f"{_AGAIN}, {tries + 1} of {_TRIES}."
            state = {"type": "SCHEDULED", "name": "AwaitingRetry", "message": message}
            state |= {"state_details": {"scheduled_time": datetime.now(UTC).isoformat()}}
        elif run["state_type"] in ("CRASHED", "FAILED"):
            return
        else:
            state = {"type": "CRASHED", "message": f"Its process was gone {_TRIES + 1} times."}
        # Another machine may have been faster, and the run have begun.
        if self.peers is not None and self.api.ask(f"flow_runs/{run['id']}", "GET")["state_id"] != run["state_id"]:
            return
        self.api.ask(f"flow_runs/{run['id']}/set_state", state=state, force=True)

    def _tries(self, run: dict[str, Any]) -> int:
        """How often a run has begun again: one that is put in line twice before it begins has been once."""
        tries, waits = 0, False
        for state in self._states(run):
            if (state["message"] or "").startswith(_AGAIN):
                waits = True
            elif waits and state["type"] in ("PENDING", "RUNNING"):
                tries, waits = tries + 1, False
        return tries

    def _states(self, run: dict[str, Any]) -> list[dict[str, Any]]:
        """All that it has been in, the oldest first."""
        return sorted(self.api.ask(f"flow_run_states/?flow_run_id={run['id']}", "GET"), key=_time)

    def _at_work(self) -> list[dict[str, Any]]:
        """Those that have a process, or should: one that was suspended has none."""
        runs = self._runs(state={"type": {"any_": ["PENDING", "RUNNING", "CANCELLING", "PAUSED"]}})
        return [run for run in runs if run["state_name"] != "Suspended"]

    def _crashed(self) -> list[dict[str, Any]]:
        """Those that a worker has reported, or that had no answer, lately."""
        lately = (datetime.now(UTC) - timedelta(hours=_CRASHED_HOURS)).isoformat()
        runs = self._runs(state={"type": {"any_": ["CRASHED", "FAILED"]}}, end_time={"after_": lately})
        return [run for run in runs if (run["state"]["message"] or "").startswith(_GONE)]

    def _runs(self, **about: Any) -> list[dict[str, Any]]:
        pools = {"name": {"any_": [self.pool]}}
        runs: dict[str, dict[str, Any]] = {}
        for offset in count(step=_AT_A_TIME):
            page = {"limit": _AT_A_TIME, "offset": offset, "sort": "ID_DESC"}
            found = self.api.ask("flow_runs/filter", flow_runs=about, work_pools=pools, **page)
            runs |= {run["id"]: run for run in found}
            if len(found) < _AT_A_TIME:
                break
        # A run within a run goes with the one above it.
        return [run for run in runs.values() if run["parent_task_run_id"] is None]

    def _is_ours(self, run: dict[str, Any]) -> bool:
        """Whether nobody but this machine may have begun the run since it was last handed out."""
        return self.peers is None or self.peers.is_ours(run)

    def _is_abandoned(self, run: dict[str, Any]) -> bool:
        """Whether the run is another machine's that is gone; its process ids say nothing here."""
        return self.peers is not None and self.peers.is_abandoned(run) and not run_lease.is_held(self.home, run["id"])

    def _lives(self, run: dict[str, Any]) -> bool:
        """Whether a run's process is there; one that has no lease, of another command, by its id."""
        latest = _time(run["state"])
        latest += timedelta(seconds=_BEGIN_SECONDS.get(run["state_type"], _SLACK_SECONDS))
        return run_lease.is_held(self.home, run["id"]) or is_process(run["infrastructure_pid"], latest)


def _age(run: dict[str, Any]) -> float:
    """Seconds that a run has been in its state."""
    return (datetime.now(UTC) - _time(run["state"])).total_seconds()


def _time(state: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(state["timestamp"])
