"""Archives of arrays under the names that Keras, MedMNIST and scikit-learn's users give them are read, and told."""

from __future__ import annotations

import numpy as np
import pytest

from tasks.core.errors import BadInput
from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers.npz import Npz

X = np.arange(24 * 4, dtype=np.uint8).reshape(24, 2, 2)
Y = np.arange(24) % 2


def _seen(tmp_path, arrays, **options):
    np.savez(tmp_path / "a.npz", **arrays)
    return inspect(Npz(path=tmp_path / "a.npz", **options))


@pytest.mark.parametrize(
    ("inputs", "label"), [("X_train", "y_train"), ("train_images", "train_labels"), ("X", "y"), ("data", "target")]
)
def test_usual_names_are_found_with_their_test_arrays_and_the_rest_is_told(tmp_path, inputs, label):
    arrays = {inputs: X, label: Y[:, None], "val_images": X[:3]}
    has_test = "train" in inputs
    if has_test:
        arrays |= {inputs.replace("train", "test"): X[:6], label.replace("train", "test"): Y[:6]}
    seen = _seen(tmp_path, arrays)
    assert (seen.rows, seen.labels) == ((30, {"0": 15, "1": 15}) if has_test else (24, {"0": 12, "1": 12}))
    assert sum(seen.held_out.values()) == 6 * has_test
    assert seen.notes == [
        f"inputs are the array {inputs}, labels {label} (--reader.inputs, --reader.label)",
        "left out the arrays val_images",
    ]


def test_names_that_options_or_the_defaults_give_count(tmp_path):
    seen = _seen(tmp_path, {"x": X, "y": Y, "X": X[:2], "x_test": X[:4], "y_test": Y[:4]})
    assert (seen.rows, seen.notes) == (28, ["left out the arrays X"])
    with pytest.raises(BadInput, match=r"--reader\.inputs and --reader\.label"):
        _seen(tmp_path, {"X": X, "y": Y}, inputs="a")


def test_a_column_for_each_class_is_refused_with_the_way(tmp_path):
    with pytest.raises(BadInput, match=r"y\.argmax\(axis=1\)"):
        _seen(tmp_path, {"x": X, "y": np.eye(2)[Y]})


def test_colours_on_the_last_axis_are_told_unless_an_option_says_where_they_are(tmp_path):
    arrays = {"x": np.zeros((24, 8, 8, 3), np.uint8), "y": Y}
    (note,) = _seen(tmp_path, arrays).notes
    assert note.endswith("--reader.channels-last")
    assert _seen(tmp_path, arrays, channels_last=True).notes == []
    assert _seen(tmp_path, {"x": np.zeros((24, 3, 8, 8), np.uint8), "y": Y}).notes == []
