"""deployments/ works: parameters their flows take, pools a Prefect server takes, files that are there."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.command_line.serve import check_deployments
from tasks.config import CleanConfig

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "deployments"
RECIPES = {path.stem: path for path in sorted((FOLDER / "recipes").glob("*.yaml"))}
POOLS = sorted((FOLDER / "work-pools").glob("*.json"))


@pytest.fixture
def prefect(nursery, server) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Prefect's own command line, from the root of the repository."""

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        variables = {"PREFECT_API_URL": server, "GRADSIEVE_LAKE": "/lake"}
        return nursery.module("prefect", "--no-prompt", *command, folder=ROOT, **variables)

    return run


def test_every_deployment_has_parameters_its_flow_takes_and_no_cleaning_has_a_limit_that_a_pause_would_break():
    check_deployments(FOLDER / "prefect.yaml")
    for deployment in yaml.safe_load((FOLDER / "prefect.yaml").read_text())["deployments"]:
        cleans = deployment["entrypoint"].endswith(":clean")
        assert ("concurrency_limit" in deployment) is not cleans


def filled_in(schema: dict[str, Any], value: Any, definitions: dict[str, Any]) -> Any:
    """What Prefect's form makes of a value when it is opened: a field that is not there, or null, gets its default,
    and so do the fields within it."""
    schema = definitions[schema["$ref"].rpartition("/")[2]] | schema if "$ref" in schema else schema
    value = schema.get("default") if value is None else value
    if not isinstance(value, dict | None) or "properties" not in schema:
        return value
    fields = {name: filled_in(f, (value or {}).get(name), definitions) for name, f in schema["properties"].items()}
    shown = {name for name, field in schema["properties"].items() if "default" in field}
    return (value or {}) | {name: field for name, field in fields.items() if name in shown or field is not None}


def untouched(kind: str, stored: dict[str, Any]) -> dict[str, Any]:
    """What the form submits of a deployment's parameters if nobody touches it; the server and the flow take it."""
    from prefect.utilities.callables import parameter_schema
    from prefect.utilities.schema_tools import validate

    flow = getattr(importlib.import_module(f"flows.{kind}"), kind)
    schema = parameter_schema(flow).model_dump_for_openapi()
    submitted = filled_in(schema, stored, schema["definitions"])
    validate(submitted, schema, raise_on_error=True)
    return flow.validate_parameters(submitted)


SHIPPED = yaml.safe_load((FOLDER / "prefect.yaml").read_text())["deployments"]


@pytest.mark.parametrize("deployment", SHIPPED, ids=[each["name"] for each in SHIPPED])
def test_a_form_that_is_submitted_untouched_runs_what_the_deployment_says(deployment):
    kind = deployment["entrypoint"].rpartition(":")[2]
    stored = deployment["parameters"]
    (config,) = untouched(kind, stored).values()
    assert config == type(config).model_validate(stored["config"])
    if kind == "clean":
        assert config.base == "auto"


def test_what_the_form_shows_in_the_group_may_stand_flat_in_a_deployment_of_ones_own():
    stored = {"config": {"lake": "here", "base": "auto", "folds": 3, "canaries": {"share": 0.1}}}
    (config,) = untouched("clean", stored).values()
    assert config == CleanConfig.model_validate(stored["config"])


def test_every_entrypoint_is_there_and_what_changed_data_start_waits_for_the_event_that_is_sent():
    from tasks.core.events import DATA_CHANGED

    deployments = yaml.safe_load((FOLDER / "prefect.yaml").read_text())["deployments"]
    for deployment in deployments:
        path, _, flow = deployment["entrypoint"].partition(":")
        assert f"def {flow}(" in (ROOT / path).read_text()
    (trigger,) = [trigger for deployment in deployments for trigger in deployment.get("triggers", [])]
    assert trigger["expect"] == [DATA_CHANGED]
    assert sum("schedules" in deployment for deployment in deployments) == 2


@pytest.mark.parametrize("path", RECIPES.values(), ids=lambda path: path.stem)
def test_a_recipe_is_a_model_and_its_training_that_clean_takes_beside_any_data(path):
    read = yaml.safe_load(path.read_text())
    assert set(read) == {"model", "training"}
    recipe = CleanConfig.model_validate(read | {"dataset": "plants"})
    assert recipe.training.model_dump(mode="json", include=set(read["training"])) == read["training"]


def test_the_fast_recipe_has_the_papers_network_and_a_tenth_of_its_epochs():
    paper, fast = (
        CleanConfig.model_validate(yaml.safe_load(RECIPES[f"cifar-{n}"].read_text())) for n in ("paper", "fast")
    )
    assert fast.model == paper.model
    assert fast.training.epochs * 10 == paper.training.epochs


@pytest.mark.parametrize("path", POOLS, ids=lambda path: path.stem)
def test_what_a_pool_fills_in_is_declared_and_its_defaults_are_of_their_own_kind(path):
    import jsonschema

    template = json.loads(path.read_text())
    variables = template["variables"]
    used = set(re.findall(r"\{\{ (\w+) \}\}", json.dumps(template["job_configuration"])))
    assert used == set(variables["properties"])
    defaults = {name: field["default"] for name, field in variables["properties"].items() if "default" in field}
    jsonschema.validate(defaults, variables)
    assert not re.search(r"password\W+\w+|secret_access_key|:latest", json.dumps(defaults), re.IGNORECASE)


@pytest.mark.parametrize("path", POOLS, ids=lambda path: path.stem)
def test_a_server_takes_the_pool_and_deploys_to_it(prefect, path, tmp_path):
    """process is run in test_serve.py; of docker and kubernetes there is no engine here, so no job."""
    made = prefect("work-pool", "create", path.stem, "--type", path.stem, "--base-job-template", str(path))
    assert made.returncode == 0, made.stdout + made.stderr
    file = tmp_path / "prefect.yaml"
    file.write_text((FOLDER / "prefect.yaml").read_text().replace("name: gradsieve\n  #", f"name: {path.stem}\n  #"))
    assert f"name: {path.stem}\n" in file.read_text()
    done = prefect("deploy", "--name", "maintain/weekly", "--prefect-file", str(file))
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_kubernetes_job_is_not_root_and_gets_its_gpu_its_lake_and_its_credentials_by_name():
    template = json.loads((FOLDER / "work-pools" / "kubernetes.json").read_text())
    job = template["job_configuration"]["job_manifest"]["spec"]
    pod, (container,) = job["template"]["spec"], job["template"]["spec"]["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "{{ gpus }}"
    assert container["envFrom"][0]["secretRef"]["name"] == "{{ credentials_secret }}"
    assert pod["volumes"][0]["persistentVolumeClaim"]["claimName"] == "{{ lake_claim }}"
    assert container["volumeMounts"] == [{"name": "lake", "mountPath": "/lake"}]
