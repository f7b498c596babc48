"""The deployments on a server: brought there, made to take turns, and when each starts by itself."""

from __future__ import annotations

from tasks.server_api import ServerApi


def let_take_turns(api: ServerApi, turns: dict[str, str]) -> None:
    """Let deployments that work on one dataset run one after another.

    A deployment's own limit, as it stands in prefect.yaml, counts only its own runs. The limit of several is one that
    they share; a run holds it by a lease that it renews, so that a run that was killed does not block it. A limit that
    is merely created binds nobody, and the limit of a work queue is kept by dead runs too.

    Args:
        api: of the server that has the deployments.
        turns: for each deployment, ``flow/name``, the name of the limit it shares with others.
    """
    known = {limit["name"]: limit["id"] for limit in api.ask("v2/concurrency_limits/filter")}
    for name, deployment in deployments(api).items():
        limit = turns.get(name)
        if limit is None:
            continue
        if limit not in known:
            known[limit] = api.ask("v2/concurrency_limits/", name=limit, limit=1)["id"]
        api.ask(f"deployments/{deployment['id']}", "PATCH", global_concurrency_limit_id=known[limit])


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
