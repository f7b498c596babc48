"""publish: kept samples + reasons → a new immutable version in a store."""

from __future__ import annotations

from tasks.artefacts import Artefact, Run
from tasks.step import step
from tasks.stores import Store


@step("publish {dataset}")
def publish(run: Run, dataset: str, samples: Artefact, flags: Artefact, store: Store) -> Artefact:
    """Publish the next version of ``dataset``, unless the newest says just the same."""
    return store.publish(run, dataset, samples, flags)
