"""The deployments on a server, and when each starts by itself."""

from __future__ import annotations

from flows.operations.server_api import ServerApi


def deployments(api: ServerApi) -> dict[str, dict]:
    """``flow/name`` → what the server says of it."""
    flows = {flow["id"]: flow["name"] for flow in api.ask("flows/filter")}
    return {f"{flows[found['flow_id']]}/{found['name']}": found for found in api.ask("deployments/filter")}


def scheduled(api: ServerApi) -> list[str]:
    """The deployments, each with when it starts by itself."""
    lines = []
    for name, found in deployments(api).items():
        times = [each["schedule"] for each in found["schedules"] if each["active"]]
        says = ", ".join(f"{time.get('cron', 'by schedule')} {time.get('timezone') or 'UTC'}" for time in times)
        lines.append(f"{name}: {says or 'when it is told to'}")
    return sorted(lines)
