"""What a run makes of a dataset, as Prefect's assets: ``gradsieve://<dataset>/samples``, ``/version``, ``/report``.

Prefect keeps an event for each that is made anew, with its metadata and the assets it was made of; an edition that
draws lineage draws it of these. Plumbing like step.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from prefect.assets import Asset, AssetProperties
from prefect.context import AssetContext
from prefect.tasks import MaterializingTask, Task

from tasks.pipeline.artefacts import Artefact, Run

A = ParamSpec("A")
R = TypeVar("R")

MAKER = "gradsieve"


class DatasetTask(MaterializingTask[A, R]):
    """A task that makes an asset of the dataset of its run, which is its first argument."""

    def __call__(self, run: Run, *arguments: Any, **named: Any) -> Any:
        """Run it, its assets named for the dataset."""
        kinds = [asset.key.rpartition("/")[2] for asset in self.assets]
        assets = [_asset(run.dataset, kind) for kind in kinds]
        return self.with_options(assets=assets)(run, *arguments, **named)


def makes(asset: str, **options: Any) -> Callable[[Callable[A, R]], Task[A, R]]:
    """Prefect's ``materialize`` for an asset of the run's dataset.

    Args:
        asset: what the task makes of a dataset: samples, version, report.
        options: of a Prefect task.
    """
    return lambda function: DatasetTask(function, assets=[_asset("dataset", asset)], materialized_by=MAKER, **options)


def _asset(dataset: str, kind: str) -> Asset:
    return Asset(key=f"gradsieve://{dataset}/{kind}", properties=AssetProperties(name=f"{dataset}: {kind}"))


def describe_asset(**metadata: Any) -> None:
    """Say what is known of the assets that the current task makes; of a function called by hand nobody asks."""
    context = AssetContext.get()
    for asset in context.downstream_assets if context else ():
        asset.add_metadata(metadata)


def described(artefact: Artefact, *facts: str) -> Artefact:
    """The artefact, after its digest, its run and these of its facts are said of the asset that it is."""
    known = {name: artefact.facts[name] for name in facts if name in artefact.facts}
    describe_asset(digest=artefact.digest, run_id=artefact.made_by, **known)
    return artefact
