"""What the run form shows, and what Prefect's server refuses by it before there is a run."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from pydantic import ValidationError

from tasks.config import CleanConfig, CompareConfig
from tasks.decision.budgets import BudgetChoice
from tasks.decision.review import ReviewForm
from tasks.gradients.kinds import GradientChoice
from tasks.ingestion.readers import ReaderChoice
from tasks.scoring.detectors import DetectorChoice
from tasks.scoring.trace_config import TraceConfig
from tasks.training.models import ModelChoice
from tasks.versions.maintenance import MaintainConfig

CONFIGS = (CleanConfig, CompareConfig, TraceConfig, MaintainConfig)
NEEDED = {"factory": "nets:small", "detector": "ECOD"}
CHOICES = (BudgetChoice, DetectorChoice, GradientChoice, ModelChoice, ReaderChoice)


def controls(schema: dict[str, Any], definitions: dict[str, Any]) -> int:
    """Of an object without properties, and of whatever is no object, the form makes one control."""
    schema = definitions[schema["$ref"].rpartition("/")[2]] | schema if "$ref" in schema else schema
    return sum(controls(field, definitions) for field in schema.get("properties", {}).values()) or 1


def refusal(value: object) -> str:
    """Where, and why."""
    errors = list(jsonschema.Draft202012Validator(CleanConfig.model_json_schema()).iter_errors(value))  # pyright: ignore
    return "; ".join(f"{error.json_path} {error.message}" for error in errors)


@pytest.mark.parametrize("config", CONFIGS)
def test_a_form_has_fewer_than_fifteen_controls_and_none_that_asks_for_a_type(config):
    schema = config.model_json_schema()
    assert 2 < controls(schema, schema.get("$defs", {})) < 15
    assert not [name for name, field in schema["properties"].items() if "anyOf" in field]
    assert not [name for name, field in ReviewForm.model_json_schema()["properties"].items() if "anyOf" in field]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"reader": {"kind": "digits", "options": {"limt": 600}}}, "$.reader.options 'limt' is not one of ['noise', "),
        ({"reader": {"options": {"limt": 600}}}, "$.reader.options 'limt' is not one of ['noise', "),
        ({"reader": {"options": {"limit": "many"}}}, "$.reader.options.limit 'many' is not of type 'integer', 'null'"),
        ({"reader": {"options": {"noise": {"share": 2}}}}, "$.reader.options.noise.share 2 is greater"),
        ({"reader": {"kind": "csv"}}, "$.reader 'path' is a required property"),
        ({"reader": {"kind": "csv", "path": "a.csv", "options": {"images": "b"}}}, "'images' is not one of"),
        ({"reader": {"kind": "digits", "path": "a.csv"}}, "$.reader.path 'a.csv' is expected to be empty"),
        ({"reader": {"kind": "idx", "options": {"images": "a"}}}, "'labels' is a required property"),
        ({"model": {"kind": "logistic", "options": {"width": 3}}}, "$.model.options {'width': 3} is expected to be"),
        ({"advanced": {"flods": 3}}, "$.advanced 'flods' is not one of"),
        ({"advanced": {"folds": 0}}, "$.advanced.folds 0 is less than the minimum of 1"),
        ({"advanced": {"training": {"epoch": 3}}}, "$.advanced.training Additional properties"),
        ({"advanced": {"detectors": ["l2", "tarot"]}}, "$.advanced.detectors[1] 'tarot' is not one of"),
        ({"advanced": {"detectors": [{"kind": "iforest", "options": {"tree": 3}}]}}, "'tree' is not one of ['trees'"),
        ({"flods": 3}, "$ 'flods' is not one of"),
        ({"folds": "three"}, "$.folds 'three' is not of type 'integer'"),
    ],
)  # fmt: skip
def test_what_is_wrong_in_a_box_is_refused_where_it_stands_and_in_words(given, words):
    assert words in refusal(given)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"reader": {"kind": "csv", "path": "a.csv", "label": "species", "options": {"limit": 9, "delimiter": "tab"}}},
        {"reader": {"kind": "csv", "options": {"path": "a.csv", "label": "species"}}},
        {"advanced": {"detectors": ["l2", {"kind": "iforest", "options": {"trees": 9}}], "base": None}},
        {"folds": 3, "canaries": {"share": 0.1}},
        {"review": {"required": True, "decided": None}},
    ],
)
def test_what_the_server_takes_the_flow_takes_as_well(given):
    assert refusal(given) == ""
    written = CleanConfig.model_validate(given).model_dump(mode="json")
    assert refusal(written) == ""
    assert CleanConfig.model_validate(written) == CleanConfig.model_validate(given)


@pytest.mark.parametrize("choice", CHOICES)
def test_the_server_takes_each_kind_with_all_its_options_as_they_are_by_themselves(choice):
    schema = choice.model_json_schema()
    for kind, component in choice.registry.components.items():
        needed = {
            name: NEEDED.get(name, "here") for name, field in component.model_fields.items() if field.is_required()
        }
        written = {
            "kind": kind,
            "options": component.model_construct(**needed).model_dump(mode="json", exclude={"kind"}),
        }
        jsonschema.validate(written, schema)


def test_path_and_label_beside_the_kind_are_options_and_said_once():
    beside = ReaderChoice.model_validate({"kind": "csv", "path": "a.csv", "label": "", "options": {"limit": 3}})
    assert beside == ReaderChoice.model_validate({"kind": "csv", "path": "a.csv", "limit": 3})
    assert ReaderChoice.model_validate({"kind": "digits", "path": ""}) == ReaderChoice()
    with pytest.raises(ValidationError, match=r"path: expected once, got a.csv and, among the options, b.csv"):
        ReaderChoice.model_validate({"kind": "csv", "path": "a.csv", "options": {"path": "b.csv"}})


def test_each_point_of_a_list_stands_on_a_line_of_its_own_though_the_form_joins_lines():
    words = ReaderChoice.model_json_schema()["properties"]["options"]["description"]
    assert "\n\n- csv also: delimiter, " in words
    assert "\n" not in words.replace("\n\n- ", "")
    assert words.count("clean_label") == 1


def test_of_what_differs_from_the_defaults_the_group_says_that_alone():
    assert CleanConfig().model_dump(mode="json")["advanced"] == {}
    assert CleanConfig(folds=3).model_dump(mode="json")["advanced"] == {"folds": 3}


@pytest.mark.parametrize("choice", [ReaderChoice, DetectorChoice, ModelChoice, GradientChoice])
def test_an_option_of_several_kinds_is_described_once_for_a_server_looks_through_all_of_it_for_each_run(choice):
    schema = choice.model_json_schema()
    shared = schema["patternProperties"]["^options$"]["properties"]
    checks, check = [], schema
    while "if" in check:
        checks.append(check["then"]["properties"]["options"])
        check = check.get("else", {})
    assert len(checks) == len(choice.registry.components)
    for name in shared:
        takes = [check for check in checks if name in check.get("propertyNames", {}).get("enum", [])]
        assert len(takes) > 1
        assert not [check for check in takes if name in check.get("properties", {})]
