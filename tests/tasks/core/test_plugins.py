"""A part is its configuration: chosen by name, its options checked at once, found in a file of its own."""

import json
import sys
from typing import Any, Literal

import pytest
from pydantic import Field, ValidationError

from tasks.core.errors import BadConfig, require_package
from tasks.core.plugins import Choice, Component, Registry
from tasks.decision.budgets import BUDGETS, BudgetChoice
from tasks.gradients.kinds import GRADIENTS, GradientChoice
from tasks.ingestion.readers import READERS, ReaderChoice
from tasks.scoring.detectors import DETECTORS, DetectorChoice
from tasks.training.models import MODELS, ModelChoice
from tasks.training.models.auto import Auto
from tasks.training.models.mlp import Mlp

CHOICES = [
    (BudgetChoice, BUDGETS),
    (DetectorChoice, DETECTORS),
    (GradientChoice, GRADIENTS),
    (ModelChoice, MODELS),
    (ReaderChoice, READERS),
]


def test_a_bare_name_a_flat_mapping_and_kind_with_options_mean_the_same():
    written = [{"kind": "mlp", "hidden": [3]}, {"kind": "mlp", "options": {"hidden": [3]}}, Mlp(hidden=[3])]
    assert [ModelChoice.model_validate(value).component for value in written] == [Mlp(hidden=[3])] * 3
    assert ModelChoice.model_validate("mlp").component == Mlp()
    assert ModelChoice.model_validate({"kind": "mlp"}).component == Mlp()


def test_options_without_a_kind_belong_to_the_default():
    assert ModelChoice.model_validate({"hidden": [9]}).component == Auto(hidden=[9])
    assert ModelChoice().component == Auto()


def test_an_unknown_kind_is_refused_with_the_known_ones():
    with pytest.raises(
        ValidationError,
        match="'mpl' is not one of: auto, causal_lm, cnn, custom, encoder, logistic, mlp, resnet18, resnet34",
    ):
        ModelChoice.model_validate("mpl")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"kind": "mlp", "widths": [3]}, "mlp: widths: Extra inputs are not permitted"),
        ({"kind": "mlp", "dropout": 1.5}, "mlp: dropout: Input should be less than 1"),
        ({"kind": "mlp", "hidden": []}, "mlp: hidden: List should have at least 1 item"),
        ({"kind": "custom"}, "custom: factory: Field required"),
    ],
)
def test_a_wrong_option_is_refused_with_its_part_and_its_name(value, message):
    with pytest.raises(ValidationError, match=message):
        ModelChoice.model_validate(value)


@pytest.mark.parametrize("value", [3, None, ["mlp"], {"kind": "mlp", "options": {}, "hidden": [3]}])
def test_what_is_no_choice_is_refused(value):
    with pytest.raises(ValidationError):
        ModelChoice.model_validate(value)


@pytest.mark.parametrize(("choice", "registry"), CHOICES)
def test_the_form_offers_every_part_of_the_family(choice, registry):
    schema = choice.model_json_schema()
    assert schema["properties"]["kind"]["enum"] == list(registry.components)
    assert schema["properties"]["kind"]["default"] in registry.components


@pytest.mark.parametrize(("_choice", "registry"), CHOICES)
def test_every_component_is_named_by_its_kind_documented_and_frozen(_choice, registry):
    assert list(registry.components) == sorted(registry.components)
    for kind, part in registry.components.items():
        assert issubclass(part, registry.base)
        assert part.model_fields["kind"].default == kind
        assert part.__doc__
        assert all(field.description for name, field in part.model_fields.items() if name != "kind")
        assert part.model_config["frozen"]
        assert part.model_config["extra"] == "forbid"


def test_a_choice_survives_json():
    choice = ModelChoice.model_validate({"kind": "mlp", "hidden": [3], "dropout": 0.5})
    assert ModelChoice.model_validate(json.loads(choice.model_dump_json())) == choice


def test_a_part_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        Mlp().dropout = 0.5


class Fruit(Component):
    kind: Any = None


PLUM = '''
from typing import Any, Literal
from fruits import Fruit

class Stoned(Fruit):
    kind: Any = None
    stones: int = 1

class {name}(Stoned):
    """A {kind}."""

    kind: Literal["{kind}"] = "{kind}"
'''


@pytest.fixture
def fruits(tmp_path, monkeypatch):
    folder = tmp_path / "fruits"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        "from typing import Any\nfrom tasks.core.plugins import Component, Registry\n\n"
        "class Fruit(Component):\n    kind: Any\n\n"
        "FRUITS = Registry(__name__, Fruit)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for module in [module for module in sys.modules if module.partition(".")[0] == "fruits"]:
        del sys.modules[module]


def test_a_file_dropped_into_the_package_is_a_part(fruits):
    (fruits / "plum.py").write_text(PLUM.format(name="Plum", kind="plum"))
    (fruits / "apricot.py").write_text(PLUM.format(name="Apricot", kind="apricot"))
    from fruits import FRUITS

    assert list(FRUITS.components) == ["apricot", "plum"]

    class FruitChoice(Choice[FRUITS.base], registry=FRUITS):
        kind: str = Field("plum")

    assert FruitChoice.model_json_schema()["properties"]["kind"]["enum"] == ["apricot", "plum"]
    assert FruitChoice.model_validate({"kind": "apricot", "stones": 2}).component.stones == 2
    with pytest.raises(ValidationError, match="'pear' is not one of: apricot, plum"):
        FruitChoice.model_validate("pear")


def test_a_part_that_another_file_imports_is_found_once(fruits):
    (fruits / "plum.py").write_text(PLUM.format(name="Plum", kind="plum"))
    (fruits / "alias.py").write_text("from fruits.plum import Plum, Stoned\n")
    from fruits import FRUITS

    assert list(FRUITS.components) == ["plum"]


def test_two_parts_of_one_kind_are_an_error(fruits):
    (fruits / "plum.py").write_text(PLUM.format(name="Plum", kind="plum"))
    (fruits / "damson.py").write_text(PLUM.format(name="Damson", kind="plum"))
    from fruits import FRUITS

    with pytest.raises(TypeError, match="Plum and Damson are both called 'plum'"):
        _ = FRUITS.components


def test_a_part_without_a_word_about_it_is_an_error_that_names_its_file(fruits):
    (fruits / "plum.py").write_text(PLUM.format(name="Plum", kind="plum").replace('"""A plum."""', ""))
    from fruits import FRUITS

    with pytest.raises(TypeError, match=r"Plum needs a docstring: --help shows its first line \(.*plum\.py\)"):
        _ = FRUITS.components


def test_an_empty_family_offers_nothing(fruits):
    from fruits import FRUITS

    assert isinstance(FRUITS, Registry)
    assert FRUITS.components == {}


def test_the_fingerprint_of_a_part_that_reads_nothing_is_empty():
    class Apple(Fruit):
        kind: Literal["apple"] = "apple"

    assert Apple().fingerprint() == ""


@pytest.mark.parametrize(
    ("raised", "words"),
    [(ModuleNotFoundError("x"), "got it is not installed"), (ImportError("half of it"), "got half of it")],
)
def test_a_package_that_is_wanted_and_not_there_is_named_with_how_to_get_it(raised, words):
    said = pytest.raises(BadConfig, match=rf"reader odd: expected the package oddity, {words}\. Install it")
    with said, require_package("oddity", "reader odd", "Install it."):
        raise raised
