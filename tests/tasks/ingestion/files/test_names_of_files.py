"""Names as Kaggle and makers of segmentation sets give them say what files are, and what they are not."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from tasks.core.errors import BadInput
from tasks.ingestion.files.picture_layout import layout_of
from tasks.ingestion.files.source_files import FileKind, source_of, split_of
from tasks.ingestion.label_forms import case_variants


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *(("trainLabels.csv", "train"), ("dataTest.csv", "test"), ("TRAIN.csv", "train"), ("contest.csv", None)),
        *(("DevTools.csv", None), ("BloodTest.csv", None), ("blood_test.csv", "test"), ("X_train.csv", "train")),
    ],
)
def test_a_capital_begins_a_word_of_a_file_name(name, split):
    assert split_of(PurePath(name)) == split


@pytest.mark.parametrize("form", ["sampleSubmission.csv", "SampleSubmission.csv", "gender_submission.csv"])
def test_a_form_for_answers_is_no_sample_however_it_is_written(tmp_path, form):
    for name in ("trainLabels.csv", form):
        (tmp_path / name).write_text("id,label\n1,a\n")
    source = source_of(tmp_path, FileKind((".csv",), True), splits=True)
    assert [file.name for file in source.files] == ["trainLabels.csv"]
    assert form in source.notes[0]


@pytest.mark.parametrize(("pictures", "masks"), [("images", "masks"), ("JPEGImages", "SegmentationClass")])
def test_pictures_and_their_masks_are_no_two_classes(pictures, masks):
    names = [f"{folder}/{i}.png" for folder in (pictures, masks) for i in range(3)]
    with pytest.raises(BadInput, match=r"label pixels.*--reader\.class-pattern"):
        layout_of(names, Path("set"))
    named = layout_of(names, Path("set"), pattern="([^/]+)/").pictures
    assert {picture.label for picture in named} == {pictures, masks}
    others = [f"{folder}/{i}.png" for folder in (pictures, masks, "cats") for i in range(3)]
    assert len(layout_of(others, Path("set")).pictures) == 9


def test_classes_that_look_alike_are_told():
    classes = ["cat", "cat\u200b", "Ice cream", "ice-cream", "ice_cream", "a  b", "a b", "1-2", "12", "1 2", "dog"]
    assert case_variants(classes) == [["a  b", "a b"], ["cat", "cat\u200b"], ["Ice cream", "ice-cream", "ice_cream"]]
