"""Automations that call a webhook: a run has failed, a cleaning harms, new samples have drifted.

    python -m tasks.notices        with GRADSIEVE_WEBHOOK and PREFECT_API_URL in the environment

``gradsieve serve`` runs it. The address is kept as a Prefect block, encrypted, and nowhere else. Plumbing that speaks
Prefect's API.
"""

from __future__ import annotations

import asyncio
import json
import os

from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook
from prefect.events.schemas.automations import EventTrigger, Posture
from pydantic import SecretStr

from tasks.events import DRIFT, VERDICT

BLOCK = "gradsieve"


async def automate(url: str) -> list[str]:
    """Make the automations, or make them anew; their names."""
    block = await Webhook(url=SecretStr(url), allow_private_urls=True).save(BLOCK, overwrite=True)  # pyright: ignore
    wanted = {
        "gradsieve: a run has failed": (
            EventTrigger(
                expect={"prefect.flow-run.Failed", "prefect.flow-run.Crashed"},
                match_related={
                    "prefect.resource.role": "flow",
                    "prefect.resource.name": ["clean", "compare", "maintain"],
                },  # pyright: ignore
                posture=Posture.Reactive,
                threshold=1,
            ),
            "{{ flow.name }} run {{ flow_run.name }}: {{ flow_run.state.name }}. {{ flow_run.state.message }}",
        ),
        "gradsieve: a cleaning harms": (
            EventTrigger(expect={f"{VERDICT}.harms"}, posture=Posture.Reactive, threshold=1),
            "{{ event.payload.dataset }} {{ event.payload.version }} harms: {{ event.payload.sentence }}",
        ),
        "gradsieve: new samples have drifted": (
            EventTrigger(expect={DRIFT}, posture=Posture.Reactive, threshold=1),
            "{{ event.payload.dataset }}, run {{ event.payload.run_id }}: {{ event.payload.sentence }}",
        ),
    }
    for name, (trigger, text) in wanted.items():
        async with get_client() as client:
            for there in await client.read_automations_by_name(name):
                await client.delete_automation(there.id)
        action = CallWebhook(block_document_id=block, payload=json.dumps({"text": text}))
        await Automation(name=name, trigger=trigger, actions=[action]).acreate()
    return list(wanted)


if __name__ == "__main__":
    print("; ".join(asyncio.run(automate(os.environ["GRADSIEVE_WEBHOOK"]))))
