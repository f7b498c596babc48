"""maintain: a lake → the same, in order."""

from __future__ import annotations

from prefect import flow

from flows.operations.old_runs import clear_runs
from tasks.catalogue.index import index
from tasks.pipeline.artefacts import Run
from tasks.versions.address import objects_of
from tasks.versions.clear_features import clear_features
from tasks.versions.histories import histories
from tasks.versions.maintain import tidy
from tasks.versions.maintenance import MaintainConfig
from tasks.versions.verify_runs import verify_runs


@flow(name="maintain", flow_run_name="maintain {config.lake}")
def maintain(config: MaintainConfig = MaintainConfig()) -> str:  # noqa: B008  frozen; Prefect shows it as defaults
    """Clear old versions away, look whether what is current is whole, bring the catalogue up to date.

    Args:
        config: What stays and what is looked at; every field is described in the form.

    Returns:
        What was done, as text.
    """
    here = Run(lake=config.lake.expanduser().resolve(), run_id="maintain")
    store = objects_of(config.store, here.lake)
    # Of every dataset before any of them is let fail the run: what is wrong with one keeps the others from nothing.
    asked = histories(store, config.dataset)
    states, told = [], set()
    for history in asked.found:
        states.append(state := tidy(here, history, config, told, return_state=True))
        told |= set(state.result().unfinished) if state.is_completed() else set()
    runs = verify_runs(here, config, return_state=True)
    cleared = clear_features(here, config) + clear_runs(config.runs_days, config.dry_run)
    index(here, len(states))
    lines = [line for state in states for line in state.result().lines] + runs.result() + cleared
    asked.check()
    return "\n".join(lines) or "no version yet"
