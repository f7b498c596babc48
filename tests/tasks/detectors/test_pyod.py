"""Any detector of PyOD can be named; what it does not have or take is refused with what it does."""

import ast
import importlib.util
from pathlib import Path

import pytest
from pydantic import ValidationError

from tasks.detectors import DetectorChoice
from tasks.detectors.pyod import PyOD, build
from tasks.errors import BadConfig


def test_an_unknown_name_is_refused_at_configuration_with_near_ones():
    with pytest.raises(ValidationError, match=r"pyod: detector: .*no detector 'ECODD'; near it: .*ecod"):
        DetectorChoice.model_validate({"kind": "pyod", "detector": "ECODD"})


def test_a_name_nothing_is_near_to_is_refused_without_a_guess():
    with pytest.raises(ValidationError, match="no detector 'zzzzzzzz'") as error:
        PyOD(detector="zzzzzzzz")
    assert "near it" not in str(error.value)


@pytest.mark.parametrize("name", ["MO_GAAL", "SO_GAAL", "DeepSVDD", "AutoEncoder", "FeatureBagging", "LSCP", "ecod"])
def test_names_are_those_of_pyod_in_any_case(name):
    assert PyOD(detector=name).detector == name


@pytest.mark.parametrize("name", ["base", "base_dl", "basedl", "gaalbase", "sklearnbase", "combination", "thresholds"])
def test_a_module_without_a_detector_of_its_name_is_refused_at_configuration(name):
    with pytest.raises(ValidationError, match="no detector"):
        PyOD(detector=name)


def classes_of_pyod():
    """Every class of pyod.models that is called as its file is, read and not imported."""
    folder = Path(importlib.util.find_spec("pyod").submodule_search_locations[0]) / "models"
    return [
        node.name
        for path in sorted(folder.glob("*.py"))
        for node in ast.parse(path.read_bytes()).body
        if isinstance(node, ast.ClassDef) and node.name.lower().replace("_", "") == path.stem.replace("_", "")
    ]


def test_every_class_of_pyod_is_known_by_its_name():
    classes = classes_of_pyod()
    assert len(classes) > 30
    refused = []
    for name in classes:
        try:
            PyOD(detector=name)
        except ValidationError:
            refused.append(name)
    assert refused == []


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("ECOD", {"neighbours": 3}), ("KNN", {"n_neighbours": 3}), ("KNN", {"contamination": 2.0})],
)
def test_a_parameter_it_does_not_take_is_a_bad_option(name, parameters):
    with pytest.raises(BadConfig, match=f"detector pyod, {name}.*{next(iter(parameters))}"):
        build(name, parameters, 0)


def test_the_seed_is_passed_to_those_that_have_one_and_yields_to_a_parameter():
    assert build("PCA", {}, 5).random_state == 5
    assert build("PCA", {"random_state": 6}, 5).random_state == 6
    assert not hasattr(build("ECOD", {}, 5), "random_state")
