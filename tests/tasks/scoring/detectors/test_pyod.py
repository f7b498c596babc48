"""Any detector of PyOD can be named; what it does not have or take is refused with what it does."""

import ast
import importlib.util
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from tasks.core.errors import BadConfig
from tasks.scoring.detectors import DetectorChoice
from tasks.scoring.detectors.pyod import PyOD, build

# All that fit 60 × 8 in well under a second. ABOD, AE1SVM, ALAD, AnoGAN, DIF, HBOS, LOCI, LUNAR, QMCD, ROD and SOD work
# too, after 2 to 14 s, most of it compiling; FeatureBagging and SUOD need the package combo.
FAST = [
    "AutoEncoder",
    "CBLOF",
    "CD",
    "COF",
    "COPOD",
    "DeepSVDD",
    "ECOD",
    "GMM",
    "HDBSCAN",
    "IForest",
    "INNE",
    "KDE",
    "KNN",
    "KPCA",
    "LMDD",
    "LODA",
    "LOF",
    "MCD",
    "MO_GAAL",
    "OCSVM",
    "PCA",
    "RGraph",
    "Sampling",
    "SO_GAAL",
    "SOS",
    "VAE",
]
# Those that by their defaults do not put a sample first that is six standard deviations out in all columns.
ASTRAY = ["HDBSCAN", "KPCA", "LODA", "MO_GAAL", "RGraph", "Sampling", "SO_GAAL"]


def test_an_unknown_name_is_refused_at_configuration_with_near_ones():
    with pytest.raises(ValidationError, match=r"pyod: detector: .*no detector 'ECODD'; near it: .*ecod"):
        DetectorChoice.model_validate({"kind": "pyod", "detector": "ECODD"})


def test_a_name_nothing_is_near_to_is_refused_without_a_guess():
    with pytest.raises(ValidationError, match="no detector 'zzzzzzzz'") as error:
        PyOD(detector="zzzzzzzz")
    assert "near it" not in str(error.value)


@pytest.mark.parametrize("name", ["MO_GAAL", "SO_GAAL", "DeepSVDD", "AutoEncoder", "FeatureBagging", "ECOD", "ecod"])
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


def test_every_class_of_pyod_is_known_by_its_name_and_those_refused_that_take_no_matrix():
    classes = classes_of_pyod()
    assert len(classes) > 30
    refused = ["AudioAE", "DevNet", "LSCP", "MAD", "XGBOD"]
    assert set(refused) <= set(classes)
    for name in classes:
        if name not in refused:
            assert PyOD(detector=name).detector == name
            continue
        with pytest.raises(ValidationError, match=f"PyOD's {name} (is|listens)"):
            PyOD(detector=name)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("MAD", "PyOD's MAD is univariate; the detectors l1 and l2"),
        ("xgbod", "is told which samples are outliers"),
        ("LSCP", "is built of other detectors"),
    ],
)
def test_what_cannot_work_on_a_matrix_is_refused_at_configuration_with_the_reason(name, told):
    with pytest.raises(ValidationError, match=told):
        DetectorChoice.model_validate({"kind": "pyod", "detector": name})


@pytest.mark.parametrize("name", FAST)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_detectors_of_pyod_fit_a_matrix_repeat_by_the_seed_and_say_nothing(name, capsys):
    generator = np.random.default_rng(0)
    matrix = generator.normal(size=(60, 8)).astype(np.float32)
    matrix[7] += 6
    before = np.random.get_state()[1].copy()
    first, again = (PyOD(detector=name, seed=4)._fit(matrix, np.ones(len(matrix), bool), "") for _ in range(2))
    assert first.shape == (60,)
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, again)
    if name not in ASTRAY:
        assert first.argmax() == 7
    assert capsys.readouterr().out == ""
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_the_columns_of_all_ways_stand_beside_each_other():
    ways = [{}, {"on": "normalised"}, {"by": "class"}, {"on": "normalised", "by": "fold"}]
    assert [PyOD(detector="ECOD", **way).name for way in ways] == [
        "pyod_ecod",
        "pyod_ecod_normalised",
        "pyod_ecod_by_class",
        "pyod_ecod_normalised_by_fold",
    ]


def test_a_package_that_is_missing_is_named():
    if importlib.util.find_spec("combo"):
        pytest.skip("combo is installed")
    with pytest.raises(BadConfig, match=r"detector pyod, SUOD: .*Install the missing package \(combo\)"):
        build("SUOD", {}, 0)


def test_a_parameter_that_does_not_fit_the_gradients_is_told_with_their_number(evidence):
    with pytest.raises(BadConfig, match=r"pyod_knn: expected parameters that fit 180 gradients of 21 values .*500"):
        PyOD(detector="KNN", parameters={"n_neighbors": 500}).score(evidence)


def test_a_group_that_cannot_be_fitted_is_named(evidence):
    with pytest.raises(BadConfig, match=r"60 gradients of 21 values \(fold 0\)"):
        PyOD(detector="KNN", parameters={"n_neighbors": 100}, by="fold").score(evidence)


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
