"""Runs that ended long ago, deleted from whatever Prefect server is in use."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId, FlowFilter, FlowRunFilter
from prefect.client.schemas.objects import FlowRun

FLOWS = ("clean", "compare", "trace", "maintain")
_ENDED = ["COMPLETED", "FAILED", "CRASHED", "CANCELLED"]
_BATCH = 100


def clear_runs(days: float | None, dry_run: bool) -> list[str]:
    """Delete our flows' runs that ended so many days ago, with logs and artifacts; what was done.

    Args:
        days: None to keep all of them.
        dry_run: only say how many would go.
    """
    if days is None:
        return []
    ended = {"before_": datetime.now(UTC) - timedelta(days=days)}
    about = FlowRunFilter.model_validate({"state": {"type": {"any_": _ENDED}}, "end_time": ended})
    with get_client(sync_client=True) as client:
        count = 0
        while batch := _read(client, about, count if dry_run else 0):
            count += len(batch)
            if not dry_run:
                _delete(client, batch)
    return [f"{count} flow runs that ended {days:g} days ago or more {'would go' if dry_run else 'are gone'}"]


def _read(client: SyncPrefectClient, about: FlowRunFilter, offset: int) -> list[FlowRun]:
    flows = FlowFilter.model_validate({"name": {"any_": list(FLOWS)}})
    return client.read_flow_runs(flow_filter=flows, flow_run_filter=about, limit=_BATCH, offset=offset)


def _delete(client: SyncPrefectClient, runs: list[FlowRun]) -> None:
    """Artifacts first: the server deletes a run's logs with it, but not these."""
    of_them = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id for run in runs]))
    while artifacts := client.read_artifacts(artifact_filter=of_them, limit=_BATCH):
        for artifact in artifacts:
            client.delete_artifact(artifact.id)
    for run in runs:
        client.delete_flow_run(run.id)
