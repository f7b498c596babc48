"""Automations that tell somebody: a run has failed, a cleaning harms, new samples have drifted, no night succeeds.

    python -m flows.operations.automations        with PREFECT_API_URL and one of these in the environment

    GRADSIEVE_WEBHOOK       an address that takes {"text": …}, Slack's for example
    GRADSIEVE_NOTIFY        an Apprise address: e-mail and whatever else Apprise knows
    GRADSIEVE_STALE_HOURS   after how long without success the nightly runs raise an alarm; default 36

``gradsieve serve`` runs it. The addresses are kept as Prefect blocks, encrypted, and nowhere else. Plumbing that speaks
Prefect's API.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping

from prefect.automations import Automation
from prefect.blocks.webhook import Webhook
from prefect.client.orchestration import get_client
from prefect.events.actions import CallWebhook, SendNotification
from prefect.events.schemas.automations import EventTrigger, Posture
from pydantic import SecretStr

from flows.operations import freshness
from flows.operations.apprise_block import AppriseAddress
from tasks.core.events import DRIFT, VERDICT

BLOCK = "gradsieve"
# As the worker knows them: PREFECT_UI_URL and GRADSIEVE_REPORTS_URL say by which names others reach the server.
_LINKS = "The run: {{ event.payload.run_url }} Its page: {{ event.payload.page_url }}"
WEBHOOK, NOTIFY = "GRADSIEVE_WEBHOOK", "GRADSIEVE_NOTIFY"


async def automate(addresses: Mapping[str, str]) -> list[str]:
    """Make the automations, or make them anew, and take away the alarm of a schedule that is off; their names.

    Args:
        addresses: those of ``GRADSIEVE_WEBHOOK`` and ``GRADSIEVE_NOTIFY`` that there are.
    """
    webhook = notify = None
    if url := addresses.get(WEBHOOK):
        webhook = await Webhook(url=SecretStr(url), allow_private_urls=True).save(BLOCK, overwrite=True)  # pyright: ignore
    if url := addresses.get(NOTIFY):
        notify = await AppriseAddress(url=SecretStr(url)).save(BLOCK, overwrite=True)  # pyright: ignore
    definitions = _definitions()
    async with get_client() as client:
        if await freshness.is_scheduled(client):
            definitions[freshness.NAME] = freshness.definition()
        else:
            # It would ring for as long as nobody has a reason to run.
            for alarm in await client.read_automations_by_name(freshness.NAME):
                await client.delete_automation(alarm.id)
    for name, (trigger, text) in definitions.items():
        actions = []
        if webhook:
            actions.append(CallWebhook(block_document_id=webhook, payload=json.dumps({"text": text})))
        if notify:
            actions.append(SendNotification(block_document_id=notify, subject=name, body=text))
        await _replace(Automation(name=name, trigger=trigger, actions=actions))
    return list(definitions)


async def _replace(wanted: Automation) -> None:
    """Make one, instead of those of its name; one that would do the same stays."""
    async with get_client() as client:
        there = await client.read_automations_by_name(wanted.name)
        if len(there) == 1 and freshness.is_same(there[0], wanted):
            return
        for automation in there:
            await client.delete_automation(automation.id)
    await wanted.acreate()


def _definitions() -> dict[str, tuple[EventTrigger, str]]:
    """Name → (when, what is said)."""
    return {
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
            "{{ flow.name }} run {{ flow_run.name }}: {{ flow_run.state.name }}. {{ flow_run.state.message }} "
            "Look at it: {{ flow_run|ui_url }}",
        ),
        "gradsieve: a cleaning harms": (
            EventTrigger(expect={f"{VERDICT}.harms"}, posture=Posture.Reactive, threshold=1),
            "{{ event.payload.dataset }} {{ event.payload.version }} harms: {{ event.payload.sentence }} " + _LINKS,
        ),
        "gradsieve: new samples have drifted": (
            EventTrigger(expect={DRIFT}, posture=Posture.Reactive, threshold=1),
            "{{ event.payload.dataset }}, run {{ event.payload.run_id }}: {{ event.payload.sentence }} " + _LINKS,
        ),
    }


if __name__ == "__main__":
    print("; ".join(asyncio.run(automate(os.environ))))
