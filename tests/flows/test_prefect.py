"""The flow as Prefect sees it: loaded from anywhere, with a form people can fill in, scheduled, with artifacts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

FLOWS = Path(__file__).resolve().parents[2] / "flows"
ENTRYPOINT = f"{FLOWS / 'clean.py'}:clean"


@pytest.fixture
def inside(nursery, server) -> Callable[[str, Path | None], str]:
    """Run a script in its own process and against the test server; what it prints.

    In a folder it imports all of our code itself; in none it has it.
    """

    def run(script: str, cwd: Path | None) -> str:
        done = nursery.script(script, cwd, PREFECT_API_URL=server)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.mark.parametrize("flow", ["clean", "compare"])
def test_a_flow_is_loaded_from_its_file_in_a_foreign_folder(inside, tmp_path, flow):
    entrypoint = f"{FLOWS / flow}.py:{flow}"
    script = f"""
from prefect.flows import load_flow_from_entrypoint
flow = load_flow_from_entrypoint({entrypoint!r}, use_placeholder_flow=False)
print(flow.name)
"""
    assert inside(script, tmp_path).strip().endswith(flow)


@pytest.mark.parametrize("flow", ["clean", "compare"])
def test_the_run_form_has_drop_downs_and_a_description_for_every_field(inside, flow):
    import json

    script = f"""
import json
from prefect.utilities.callables import parameter_schema
from flows.{flow} import {flow}
print(json.dumps(parameter_schema({flow}).model_dump_for_openapi()))
"""
    schema = json.loads(inside(script, None).strip().splitlines()[-1])
    definitions = schema["definitions"]
    assert definitions["ReaderChoice"]["properties"]["kind"]["enum"][:3] == ["arrow", "csv", "delta"]
    assert "l2" in definitions["DetectorChoice"]["properties"]["kind"]["enum"]

    def reference(field: dict) -> str:
        # Where the words are those of the model itself, they stand there and not at the field.
        return definitions.get(field.get("$ref", "").rpartition("/")[2], {}).get("description", "")

    name = {"clean": "CleanConfig", "compare": "CompareConfig"}[flow]
    assert len(definitions[name]["properties"]) <= 7
    bare = [
        f"{model}.{name}"
        for model, definition in definitions.items()
        for name, field in definition.get("properties", {}).items()
        if not field.get("description") and not reference(field)
    ]
    assert bare == []
    assert schema["properties"]["config"]["default"].keys() <= definitions[name]["properties"].keys()
    assert not [model for model, definition in definitions.items() if "oneOf" in definition]


FORM = """
import sys
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.callables import parameter_schema
from flows.clean import clean

with get_client(sync_client=True) as client:
    client.create_work_pool(WorkPoolCreate(name="form", type="process"), overwrite=True)
    deployment = client.create_deployment(
        flow_id=client.create_flow(clean), name="form", work_pool_name="form", enforce_parameter_schema=True,
        parameter_openapi_schema=parameter_schema(clean).model_dump_for_openapi(),
    )
    for config in (
        {"advanced": {"folds": 3}},
        {"folds": 3},
        {"advanced": {"folds": 0}},
        {"model": {"kind": "none such"}},
        {"flods": 3},
        {"advanced": {"dataset": "here"}},
        {"reader": {"kind": "digits", "options": {"limt": 600}}},
    ):
        try:
            client.create_flow_run_from_deployment(deployment, parameters={"config": config})
            print("made")
        except PrefectHTTPStatusError as error:
            print("refused", " ".join(error.response.text.split()))
"""


def test_the_form_takes_a_field_where_it_shows_it_or_flat_and_refuses_a_wrong_value_in_words(inside):
    nested, flat, low, unknown, typo, misplaced, option = inside(FORM, None).strip().splitlines()
    assert (nested, flat) == ("made", "made")
    assert "0 is less than the minimum of 1" in low
    assert "config.advanced.folds" in low
    assert "is not one of" in unknown
    assert "flods" in typo
    assert misplaced.startswith("refused")
    assert "config.reader.options" in option
    assert "'limt' is not one of ['noise', 'limit'" in option


def test_a_cron_schedule_really_creates_runs(inside, tmp_path):
    """With SQLAlchemy 2.1 the server starts, manual runs work, and scheduled runs silently never appear."""
    script = f"""
import asyncio
from prefect import get_client
from prefect.flows import load_flow_from_entrypoint
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateName
from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
from prefect.client.schemas.actions import WorkPoolCreate

async def main():
    async with get_client() as client:
        await client.create_work_pool(WorkPoolCreate(name="nights", type="process"), overwrite=True)
        flow = load_flow_from_entrypoint({ENTRYPOINT!r}, use_placeholder_flow=False)
        deployment = await flow.ato_deployment("nightly", cron="0 3 * * *", work_pool_name="nights")
        deployment.entrypoint = "flows/clean.py:clean"
        made = await deployment.apply()
        for _ in range(60):
            runs = await client.read_flow_runs(
                deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[made])),
                flow_run_filter=FlowRunFilter(state=FlowRunFilterState(name=FlowRunFilterStateName(any_=["Scheduled"]))),
            )
            if runs:
                print("scheduled", len(runs))
                return
            await asyncio.sleep(1)
        print("none")

asyncio.run(main())
"""
    assert "scheduled" in inside(script, tmp_path)


def test_a_comparison_leaves_its_tables_its_plot_and_its_progress(gradsieve, inside, tmp_path):
    import base64
    import json

    options = ["--reader.limit=250", "--folds=2", "--training.epochs=1", "--detectors=l2,margin", "--seeds=1"]
    done = gradsieve("compare", "--lake", str(tmp_path), "--dataset=seen", *options, "--budgets=share,disagreement")
    assert done.returncode == 0, done.stderr
    script = """
import asyncio, json
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterName
async def main():
    async with get_client() as client:
        named = FlowRunFilter(name=FlowRunFilterName(any_=["compare seen"]))
        run = (await client.read_flow_runs(flow_run_filter=named))[0]
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        artifacts = await client.read_artifacts(flow_run_filter=mine)
        print(json.dumps({a.key or a.type: a.data for a in artifacts}))
asyncio.run(main())
"""
    artifacts = json.loads(inside(script, tmp_path).strip().splitlines()[-1])
    assert "# seen" in artifacts["comparison"]
    assert {row["detector"] for row in json.loads(artifacts["detectors"])} == {"l2", "margin"}
    assert len(json.loads(artifacts["budgets"])) == 4
    assert artifacts["progress"] == 100.0
    head, _, image = artifacts["precision-recall"].partition(",")
    assert head == "data:image/png;base64"
    (folder,) = (tmp_path / "comparisons").iterdir()
    assert base64.b64decode(image) == (folder / "plot.png").read_bytes()


def test_a_run_leaves_a_summary_a_table_of_suspects_and_its_progress(gradsieve, small, inside, tmp_path):
    done = gradsieve("clean", "--lake", str(tmp_path), "--dataset=looked-at", *small)
    assert done.returncode == 0, done.stderr
    script = """
import asyncio, json
from prefect import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId, FlowRunFilterName
async def main():
    async with get_client() as client:
        named = FlowRunFilter(name=FlowRunFilterName(any_=["clean looked-at"]))
        run = (await client.read_flow_runs(flow_run_filter=named))[0]
        mine = FlowRunFilter(id=FlowRunFilterId(any_=[run.id]))
        artifacts = await client.read_artifacts(flow_run_filter=mine)
        print(json.dumps({a.key or a.type: a.data for a in artifacts}))
asyncio.run(main())
"""
    import json

    artifacts = json.loads(inside(script, tmp_path).strip().splitlines()[-1])
    assert "# looked-at" in artifacts["summary"]
    assert len(json.loads(artifacts["suspects"])) == 50
    # Two networks of two epochs carry no p_wrong, and so no expected precision.
    assert "precision" not in artifacts
    for name in ("accuracy", "worth", "suspicion", "classes"):
        assert artifacts[name].startswith("data:image/svg+xml;base64,")
    assert artifacts["gallery"].startswith("data:image/png;base64,")
    assert artifacts["progress"] == 100.0
    _has_assets(inside, tmp_path)


ASSETS = """
import json, time
from prefect.client.orchestration import get_client
body = {"filter": {"event": {"prefix": ["prefect.asset.materialization"]}}}
found = {}
with get_client(sync_client=True) as client:
    # A server writes events down a while after it was told of them.
    for _ in range(60):
        for event in client._client.post("/events/filter", json=body).json()["events"]:
            name, related = event["resource"]["prefect.resource.id"], event["related"]
            if "looked-at" in name:
                outcome = event["event"].rpartition(".")[2]
                found[name] = [outcome, event["payload"], [each["prefect.resource.id"] for each in related]]
        if len(found) == 3:
            break
        time.sleep(0.5)
print(json.dumps(found))
"""


def _has_assets(inside: Callable[[str, Path | None], str], lake: Path) -> None:
    """Prefect knows what the run made of its dataset, of what, and what is known of it."""
    import json

    assets = json.loads(inside(ASSETS, lake).strip().splitlines()[-1])
    names = [f"gradsieve://looked-at/{kind}" for kind in ("samples", "version", "report")]
    assert sorted(assets) == sorted(names)
    assert {outcome for outcome, _, _ in assets.values()} == {"succeeded"}
    samples, version, report = (assets[name] for name in names)
    assert samples[1]["splits"]["train"] > 0
    assert version[1].keys() >= {"version", "removed", "verdict", "run_id", "digest"}
    assert names[0] in version[2]
    assert report[1]["page"].endswith(".html")
    assert names[1] in report[2]


def test_a_wrong_parameter_is_refused_with_a_message_that_says_what_is_right():
    from tasks.config import CleanConfig

    with pytest.raises(ValueError, match=r"'nothing' is not one of: arrow, csv, delta, digits"):
        CleanConfig.model_validate({"reader": "nothing"})
    with pytest.raises(ValueError, match="greater than or equal to 1"):
        CleanConfig.model_validate({"folds": 0})


def test_retries_are_for_errors_that_pass():
    from tasks.pipeline.step import _transient

    class State:
        def __init__(self, error: BaseException) -> None:
            self.error = error

        def result(self) -> None:
            raise self.error

    assert _transient(None, None, State(TimeoutError()))
    assert _transient(None, None, State(httpx.ConnectError("All connection attempts failed")))
    assert not _transient(None, None, State(FileNotFoundError()))
    assert not _transient(None, None, State(OSError(28, "No space left on device")))


def test_whoever_makes_artifacts_waits_for_a_server_that_begins_again(monkeypatch):
    from tasks import steps
    from tasks.pipeline.step import _transient

    for task in (steps.report, steps.present, steps.present_traces, steps.draw_question):
        assert (task.retries, task.retry_condition_fn) == (3, _transient), task.name

    class Futures(list):
        def result(self) -> list[str]:
            return list(self)

    def away(*_: object, **__: object) -> None:
        raise httpx.ConnectError("All connection attempts failed")

    futures: Any = Futures(["shard"])
    monkeypatch.setattr("tasks.report.report.as_completed", list)
    monkeypatch.setattr("tasks.report.report.create_progress_artifact", lambda *_, **__: "a bar")
    monkeypatch.setattr("tasks.report.report.update_progress_artifact", away)
    assert steps.follow(futures, "Shards") == ["shard"]
    monkeypatch.setattr("tasks.report.report.create_progress_artifact", away)
    assert steps.follow(futures, "Shards") == ["shard"]
