"""Which files of a folder are read, and what their names say."""

from __future__ import annotations

from pathlib import Path, PurePath

import pytest

from tasks.core.errors import BadConfig
from tasks.ingestion.files.source_files import FileKind, source_of, split_of
from tasks.ingestion.files.source_kind import kind_of_source

CSV = FileKind((".csv", ".tsv"), packed=True)


def _touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("a,label\n1,x\n")
    return root


def _splits(root: Path) -> dict[str, str | None]:
    return {file.name: file.split for file in source_of(root, CSV, splits=True).files}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train.csv", "train"),
        ("TRAIN.csv", "train"),
        ("train-00000-of-00002.parquet", "train"),
        ("fruit_train.csv.gz", "train"),
        ("training2020.csv", "train"),
        ("test.csv", "test"),
        ("test_batch_1.jsonl", "test"),
        ("eval.csv", "test"),
        ("val.csv", "validation"),
        ("valid.csv", "validation"),
        ("validation.csv", "validation"),
        ("dev.csv", "validation"),
        ("my-dev.csv", "validation"),
        ("test/part-0.parquet", "test"),
        ("Train/2020/part-0.parquet", "train"),
        ("trains.csv", None),
        ("testimonials.csv", None),
        ("values.csv", None),
        ("devices.csv", None),
        ("a_test_of_time.csv", None),
        ("0.csv", None),
    ],
)
def test_a_split_is_a_word_at_the_beginning_or_the_end_of_a_name(name, split):
    assert split_of(PurePath(name)) == split


def test_names_of_splits_are_splits_and_other_files_beside_them_are_left_out(tmp_path):
    root = _touch(tmp_path, "train.csv", "test.csv", "val.csv", "stores.csv", "sample_submission.csv", "README.md")
    source = source_of(root, CSV, splits=True)
    assert _splits(root) == {"test.csv": "test", "train.csv": "train", "val.csv": "validation"}
    told = " ".join(source.notes)
    assert "left out 3 of the files" in told
    for words in (
        "stores.csv (a name that says no split",
        "sample_submission.csv (a form for",
        "README.md (no .csv or",
    ):
        assert words in told
    assert "train: train.csv; validation: val.csv; test: test.csv" in told


def test_files_of_other_names_are_training_files_where_none_says_train(tmp_path):
    assert _splits(_touch(tmp_path, "2020.csv", "2021.csv", "test.csv")) == {
        "2020.csv": "train",
        "2021.csv": "train",
        "test.csv": "test",
    }


def test_a_folder_of_tests_alone_is_read_as_one_and_that_is_told(tmp_path):
    root = _touch(tmp_path, "test1.csv", "test2.csv")
    assert set(_splits(root).values()) == {None}
    assert "no name says train" in source_of(root, CSV, splits=True).notes[0]


def test_names_say_nothing_where_nobody_asks_them(tmp_path):
    source = source_of(_touch(tmp_path, "train.csv", "test.csv"), CSV)
    assert [file.split for file in source.files] == [None, None]
    assert source.notes == ()


def test_what_is_read_as_test_is_not_trained_on(tmp_path):
    root = _touch(tmp_path, "a.csv", "held/b.csv")
    assert [file.name for file in source_of(root, CSV, but=[root / "held"]).files] == ["a.csv"]


def test_hidden_files_and_folders_are_left_out_and_told(tmp_path):
    root = _touch(
        tmp_path, "a.csv", ".a.csv.crc", "_SUCCESS", "_delta_log/0.csv", "~$a.csv", ".ipynb_checkpoints/a.csv"
    )
    source = source_of(root, CSV)
    assert [file.name for file in source.files] == ["a.csv"]
    assert "left out 5 of the files" in source.notes[0]


def test_a_reader_that_was_named_reads_what_it_does_not_know_by_its_suffix(tmp_path):
    assert [file.name for file in source_of(_touch(tmp_path, "a.txt", "b.txt"), CSV).files] == ["a.txt", "b.txt"]


def test_partitions_are_whole_numbers_where_all_are_and_text_otherwise(tmp_path):
    none = "__HIVE_DEFAULT_PARTITION__"
    root = _touch(tmp_path, "year=2020/kind=a%2Fb/0.csv", f"year=2021/kind={none}/0.csv", "year=2021/kind=7/0.csv")
    values = [{key: one.as_py() for key, one in file.partitions.items()} for file in source_of(root, CSV).files]
    assert values == [
        {"year": 2020, "kind": "a/b"},
        {"year": 2021, "kind": "7"},
        {"year": 2021, "kind": None},
    ]


def test_a_number_with_a_leading_zero_is_no_number(tmp_path):
    file, _ = source_of(_touch(tmp_path, "zip=01234/0.csv", "zip=20000/0.csv"), CSV).files
    assert file.partitions["zip"].as_py() == "01234"


# ---- kinds -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["a.csv"], "csv"),
        (["a.csv.zst"], "csv"),
        (["a.json"], "jsonl"),
        (["a.json.xz", "README.md"], "jsonl"),
        (["year=2020/part-0.parquet", "_SUCCESS"], "parquet"),
        (["train/0.jsonl", "test/0.jsonl", "dataset_card.csv"], "jsonl"),
        (["cat/1.png", "dog/1.png", "labels.csv"], "image_folder"),
        (["cat/1", "dog/1"], "image_folder"),
        (["cat/1.png", "cat/1.json", "dog/1.png", "dog/1.json"], "image_folder"),
        (["dataset_info.json", "state.json", "data-00000.arrow"], "huggingface"),
    ],
)
def test_the_files_inside_say_what_a_folder_is(tmp_path, names, kind):
    assert kind_of_source(_touch(tmp_path, *names)) == kind


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.csv", "b.parquet"], "as many files of kind csv as of kind parquet"),
        (["a.parquet.gz"], "got .parquet"),
        (["a.md"], "got .md"),
        ([], "an empty folder"),
    ],
)
def test_a_folder_that_does_not_say_is_refused(tmp_path, names, words):
    with pytest.raises(BadConfig, match=words) as caught:
        kind_of_source(_touch(tmp_path, *names))
    assert "--reader.kind" in caught.value.do
