"""A configuration says the same however it is written: flat, as the run form groups it, as YAML."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from tasks.config import CleanConfig, CompareConfig
from tasks.scoring.trace_config import TraceConfig


@pytest.mark.parametrize("kind", [CleanConfig, CompareConfig])
def test_grouped_and_flat_are_the_same_configuration(kind):
    given = kind(dataset="plants", folds=3, canaries={"share": 0.1}, detectors=["l2", "margin"])
    grouped = given.model_dump(mode="json")
    assert set(grouped) == {*kind.first, "advanced"}
    assert grouped["advanced"]["folds"] == 3
    assert kind.model_validate(grouped) == given
    assert kind.model_validate_json(given.model_dump_json()) == given
    assert kind.model_validate(given.model_dump()) == given


def test_a_file_is_flat_and_knows_nothing_of_where_it_ran():
    given = CleanConfig(folds=3, lake="elsewhere")
    written = yaml.safe_load(given.yaml())
    assert set(written) == set(CleanConfig.model_fields) - {"lake"}
    assert CleanConfig.model_validate(written) == CleanConfig(folds=3)


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ({"base": "auto"}, {"base": None}),
        ({"folds": 3}, {"folds": 5, "base": None}),
        ({"gradient": "layers"}, {"gradient": {"kind": "head", "options": {}}}),
        ({"canaries": {"share": 0.1}}, CleanConfig().model_dump(mode="json")["advanced"]),
    ],
)
def test_what_is_said_flat_counts_beside_a_group_that_nobody_has_touched(said, shown):
    assert CleanConfig.model_validate(said | {"advanced": shown}) == CleanConfig.model_validate(said)


@pytest.mark.parametrize(
    "given",
    [
        {"folds": 3, "advanced": {"folds": 3}},
        {"base": "auto", "advanced": {"base": "latest"}},
        {"folds": 3, "advanced": {"folds": 0}},
        {"advanced": {"dataset": "plants"}},
        {"advanced": {"flods": 3}},
        {"advanced": 3},
    ],
)
def test_a_field_that_is_twice_there_or_in_the_wrong_place_is_refused(given):
    with pytest.raises(ValidationError, match="advanced"):
        CleanConfig.model_validate(given)


def test_the_form_of_a_trace_asks_first_which_run_is_meant_and_only_how_decides_the_traces():
    assert list(TraceConfig.model_json_schema()["properties"])[:4] == ["run", "dataset", "lake", "top"]
    assert TraceConfig(run="a", lake="here", top=3).tracing == TraceConfig(run="b", top=3).tracing
