"""A network of the user's own is named by package.module:factory, and its code is part of its identity."""

import sys

import pytest
import torch
from pydantic import ValidationError

from tasks.core.errors import BadModel
from tasks.dataset.payload import Payload
from tasks.training.models import ModelChoice
from tasks.training.models.custom import Custom

VECTOR = Payload(kind="array", columns=("x",), shape=(6,), dtype="float32")


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of its own name for each test, importable."""
    name = f"own_{tmp_path.name.replace('-', '_')}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "nets.py").write_text(
        "from torch import nn\n"
        f"from {name} import sizes\n\n"
        "def small(shape, classes, **arguments):\n"
        "    assert shape == (6,) and type(shape) is tuple\n"
        "    return nn.Linear(shape[0], classes, **arguments)\n\n"
        "def number(shape, classes):\n"
        "    return 42\n"
    )
    (folder / "sizes.py").write_text("WIDTH = 3\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def test_the_factory_gets_the_shape_the_classes_and_its_arguments(package):
    model = Custom(factory=f"{package.name}.nets:small", arguments={"bias": False})
    network = model.build(VECTOR, 4)
    assert isinstance(network, torch.nn.Linear)
    assert network.weight.shape == (4, 6)
    assert network.bias is None


@pytest.mark.parametrize("factory", ["mypackage.nets", ":small", "mypackage.nets:", ""])
def test_a_name_without_module_or_function_is_refused_at_configuration(factory):
    with pytest.raises(ValidationError, match=r"expected package\.module:factory"):
        Custom(factory=factory)
    with pytest.raises(ValidationError, match=r"custom: factory: .*expected package\.module:factory"):
        ModelChoice.model_validate({"kind": "custom", "factory": factory})


@pytest.mark.parametrize("missing", ["no_such_package_at_all:small", "{name}.nothere:small", "{name}.nets:nothere"])
def test_a_factory_that_cannot_be_imported_is_a_bad_model(package, missing):
    factory = missing.format(name=package.name)
    with pytest.raises(BadModel, match="expected an importable function") as error:
        Custom(factory=factory).build(VECTOR, 3)
    assert factory in str(error.value)


def test_a_factory_that_returns_no_module_is_a_bad_model(package):
    with pytest.raises(BadModel, match="got int"):
        Custom(factory=f"{package.name}.nets:number").build(VECTOR, 3)


@pytest.mark.parametrize("file", ["nets.py", "sizes.py"])
def test_the_fingerprint_follows_the_code_and_what_it_imports_but_no_comment(package, file):
    model = Custom(factory=f"{package.name}.nets:small")
    before = model.fingerprint()
    assert before == model.fingerprint()
    path = package / file
    path.write_text(path.read_text() + "# a comment\n")
    assert model.fingerprint() == before
    path.write_text(path.read_text() + "OTHER = 1\n")
    assert model.fingerprint() != before


def test_models_of_this_project_have_no_fingerprint_of_their_own():
    assert ModelChoice(kind="logistic").component.fingerprint() == ""
