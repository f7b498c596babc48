"""The deployments on a server, and when each starts by itself."""

from __future__ import annotations

from flows.operations.server_api import ServerApi


def deployments(api: ServerApi) -> dict[str, dict]:
    """``flow/name`` → what the server says of it."""
    flows = {flow["id"]: flow["name"] for flow in api.ask("flows/filter")}
    return {
        f"{flows[deployment['flow_id']]}/{deployment['name']}": deployment
        for deployment in api.ask("deployments/filter")
    }


def schedule_lines(api: ServerApi) -> list[str]:
    """The deployments, each with when it starts by itself."""
    lines = []
    for name, deployment in deployments(api).items():
        times = [each["schedule"] for each in deployment["schedules"] if each["active"]]
        says = ", ".join(f"{time.get('cron', 'by schedule')} {time.get('timezone') or 'UTC'}" for time in times)
        lines.append(f"{name}: {says or 'when it is told to'}")
    return sorted(lines)
