"""A flow run's process: Prefect's engine, unless another process is at this run already.

    python -m flows.operations.run_engine       with PREFECT__FLOW_RUN_ID and PREFECT_HOME, as a worker sets them

On a busy machine a run may be handed out twice: it is put in line again while the worker is still about to start it.
The second process leaves at once, before it has told Prefect anything, so that no artifact is there twice. So does
one that begins so late that its run has been handed to another machine.

A process whose worker was killed ends too. Left alone it stands still, *Running* for ever, where nobody can cancel it;
once it is gone, its run is put in line again.
"""

from __future__ import annotations

import os
import runpy
from pathlib import Path

import httpx

from flows.operations import run_lease
from flows.operations.child import end_with_parent
from flows.operations.peers import is_handed_on


def main() -> None:
    """Work on the run, or leave it to who does."""
    # First of all: a worker that ends while its server is asked is looked for in vain afterwards.
    end_with_parent()
    run = os.environ["PREFECT__FLOW_RUN_ID"]
    home = Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")
    try:
        handed_on = is_handed_on(run, os.environ)
    except httpx.HTTPError as error:
        # To begin without an answer might be to begin beside another machine.
        raise SystemExit(
            f"gradsieve: flow run {run} is not begun, for the Prefect server did not say whose it is ({error}). Its "
            "worker tells the server that it crashed; gradsieve serve then puts it in line again."
        ) from error
    if handed_on:
        print(f"gradsieve: flow run {run} has been handed to another machine; this one leaves it to that.", flush=True)
        return
    lease = run_lease.take(home, run)
    if lease is None:
        print(f"gradsieve: flow run {run} has a process already; this one leaves it to that.", flush=True)
        return
    with lease:
        runpy.run_module("prefect.engine", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
