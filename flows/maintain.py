"""maintain: a lake → the same, in order."""

from __future__ import annotations

from prefect import flow

from tasks.artefacts import Run
from tasks.index import index
from tasks.maintenance import MaintainConfig
from tasks.tidy import tidy
from tasks.versions.history import histories


@flow(name="maintain", flow_run_name="maintain {config.lake}")
def maintain(config: MaintainConfig = MaintainConfig()) -> str:  # noqa: B008  frozen; Prefect shows it as defaults
    """Clear old versions away, look whether what is current is whole, bring the catalogue up to date.

    Args:
        config: what stays and what is looked at; every field is described in the form.

    Returns:
        What was done, as text.
    """
    here = Run(lake=config.lake.expanduser().resolve(), run_id="maintain")
    store = config.store.part.objects(here.lake)
    done = [line for history in histories(store, config.dataset) for line in tidy(here, history, config)]
    index(here, done)
    return "\n".join(done) or "no version yet"
