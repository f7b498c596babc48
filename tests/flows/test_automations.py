"""The alarm of a schedule is there for as long as the schedule is."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.operations import freshness
from flows.operations.automations import WEBHOOK, automate
from flows.operations.server_api import ServerApi

# The server is other tests' as well.
NIGHTLY = "nightly-of-automations"


@pytest.fixture
def api(server: str, monkeypatch) -> Iterator[ServerApi]:
    api = ServerApi(server)
    monkeypatch.setattr(freshness, "DEPLOYMENT", NIGHTLY)
    with temporary_settings({PREFECT_API_URL: server}):
        yield api
    for automation in api.ask("automations/filter"):
        api.ask(f"automations/{automation['id']}", "DELETE")


@pytest.mark.parametrize("end", ["off", "gone"])
def test_the_alarm_goes_with_its_schedule(api, end):
    flow = api.ask("flows/", name="clean")["id"]
    schedule = {"schedule": {"cron": "0 2 * * *"}, "active": True}
    nightly = api.ask("deployments/", name=NIGHTLY, flow_id=flow, schedules=[schedule])["id"]

    def alarms() -> list[str]:
        names = asyncio.run(automate({WEBHOOK: "http://127.0.0.1:9/"}))
        there = {each["name"] for each in api.ask("automations/filter")}
        assert there == set(names)
        return [name for name in names if name == freshness.NAME]

    assert alarms() == [freshness.NAME]
    if end == "off":
        (schedule,) = api.ask(f"deployments/{nightly}", "GET")["schedules"]
        api.ask(f"deployments/{nightly}/schedules/{schedule['id']}", "PATCH", active=False)
    else:
        api.ask(f"deployments/{nightly}", "DELETE")
    assert alarms() == []
