"""An alarm when the runs of a schedule have not succeeded for longer than they should take to."""

from __future__ import annotations

import os
from datetime import timedelta

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterName
from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

DEPLOYMENT = "nightly"
HOURS = "GRADSIEVE_STALE_HOURS"
NAME = f"gradsieve: {DEPLOYMENT} has not succeeded for long"
# A night and half a day: one that fails is tried again, one that is missed is told before the next.
_DEFAULT_HOURS = 36.0


def definition() -> tuple[EventTrigger, str]:
    """(When, what is said)."""
    hours = float(os.environ.get(HOURS) or _DEFAULT_HOURS)
    trigger = EventTrigger.model_validate(
        {
            "match": {"prefect.resource.id": "prefect.flow-run.*"},
            "match_related": {"prefect.resource.role": "deployment", "prefect.resource.name": DEPLOYMENT},
            "expect": {"prefect.flow-run.Completed"},
            "posture": Posture.Proactive,
            "threshold": 1,
            "within": timedelta(hours=hours),
        }
    )
    return (
        trigger,
        f"{DEPLOYMENT} has not succeeded for {hours:g} hours. Look at its newest runs, and whether a worker lives.",
    )


async def is_scheduled(client: PrefectClient) -> bool:
    """Whether there is a schedule to keep to."""
    named = DeploymentFilter(name=DeploymentFilterName(any_=[DEPLOYMENT]))
    found = await client.read_deployments(deployment_filter=named)
    return any(schedule.active for deployment in found for schedule in deployment.schedules)


def is_same(there: AutomationCore, wanted: AutomationCore) -> bool:
    """Whether an automation that is there would do the same: it then stays, for a new one counts its hours anew."""

    def essence(automation: AutomationCore) -> tuple[object, object]:
        trigger = automation.trigger.model_dump(mode="json", exclude={"id"})
        return trigger, [action.model_dump(mode="json") for action in automation.actions]

    return there.enabled and essence(there) == essence(wanted)
