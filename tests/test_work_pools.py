"""The work pools' templates are Prefect's own, with our defaults: looked at without an engine or a cluster."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import prefect.server.api.collections as bundled
import pytest
import yaml
from prefect.utilities.templating import apply_values

from flows.command_line.serve import check_deployments

FOLDER = Path(__file__).resolve().parents[1] / "deployments"
KINDS = sorted(path.stem for path in (FOLDER / "work-pools").glob("*.json"))
VIEWS = Path(bundled.__file__).parent / "collections_data" / "views"


def ours(kind: str) -> dict[str, Any]:
    return json.loads((FOLDER / "work-pools" / f"{kind}.json").read_text())


def of_prefect(kind: str) -> dict[str, Any]:
    """The base template of a kind of worker, as Prefect's server ships it."""
    packages = json.loads((VIEWS / "aggregate-worker-metadata.json").read_text())
    (template,) = [workers[kind]["default_base_job_configuration"] for workers in packages.values() if kind in workers]
    return template


def defaults(template: dict[str, Any]) -> dict[str, Any]:
    properties = template["variables"]["properties"]
    return {name: field["default"] for name, field in properties.items() if "default" in field}


@pytest.mark.parametrize("kind", KINDS)
def test_a_pool_says_what_its_worker_reads_and_its_defaults_are_of_the_type_they_say(kind):
    template, base = ours(kind), of_prefect(kind)
    assert set(template["job_configuration"]) <= set(base["job_configuration"])
    jsonschema.Draft202012Validator.check_schema(template["variables"])
    jsonschema.validate(defaults(template), template["variables"])
    used = set(re.findall(r"\{\{ *(\w+) *\}\}", json.dumps(template["job_configuration"])))
    assert used == set(template["variables"]["properties"])


@pytest.mark.parametrize("kind", KINDS)
def test_rendered_with_its_defaults_nothing_is_left_open(kind):
    template = ours(kind)
    rendered = apply_values(template["job_configuration"], defaults(template))
    assert "{{" not in json.dumps(rendered)
    if kind == "kubernetes":
        manifest = rendered["job_manifest"]
        assert (manifest["apiVersion"], manifest["kind"]) == ("batch/v1", "Job")
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        assert container["image"] == defaults(template)["image"]


def test_every_image_is_of_the_version_that_is_built():
    project = (FOLDER.parent / "pyproject.toml").read_text()
    (version,) = re.findall(r'^version = "(.+)"', project, flags=re.M)
    files = [path for path in FOLDER.rglob("*") if path.suffix in (".json", ".yaml") or path.name == "Dockerfile"]
    named = {image for path in files for image in re.findall(r"gradsieve:(\d[\w.]*)", path.read_text())}
    assert named == {version}


@pytest.mark.parametrize("deployment", yaml.safe_load((FOLDER / "staging-production.yaml").read_text())["deployments"])
def test_the_pairs_job_variables_are_such_as_their_pool_knows(deployment):
    template = ours("kubernetes")
    variables = deployment["work_pool"]["job_variables"]
    assert set(variables) <= set(template["variables"]["properties"])
    jsonschema.validate(defaults(template) | variables, template["variables"])


def test_the_pair_has_parameters_that_its_flow_takes():
    check_deployments(FOLDER / "staging-production.yaml")


def test_the_cluster_has_a_worker_with_its_secret_in_each_namespace_of_the_pair_and_a_server_all_can_reach():
    server, worker = ((FOLDER / "helm" / f"{name}.yaml").read_text() for name in ("server", "worker"))
    values, connection = yaml.safe_load(server), "prefect-server-postgresql-connection"
    # The chart would make the database's secret of values that are not here.
    assert (values["postgresql"]["enabled"], values["secret"]) == (False, {"create": False, "name": connection})
    api = yaml.safe_load(worker)["worker"]["selfHostedServerApiConfig"]
    assert api["apiUrl"] == "http://prefect-server.prefect.svc.cluster.local:4200/api"
    for text, namespace in ((server, "prefect"), (worker, "gradsieve-$stage")):
        commands = [line for line in text.splitlines() if re.match(r"# +(kubectl|helm) ", line)]
        assert all(
            f" {'namespace ' if ' create namespace' in line else '--namespace '}{namespace}" in line
            for line in commands
        )
        assert any("create secret generic gradsieve-auth" in line for line in commands)
    (stages,) = re.findall(r"for stage in (.+); do", worker)
    pair = yaml.safe_load((FOLDER / "staging-production.yaml").read_text())["deployments"]
    for deployment, stage in zip(pair, stages.split(), strict=True):
        pool = deployment["work_pool"]
        assert {pool["name"], pool["job_variables"]["namespace"]} == {f"gradsieve-{stage}"}
