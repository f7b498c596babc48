"""Folders of pictures as people have them: what lies in them is read, or named as left out with the reason."""

from __future__ import annotations

import shlex
import subprocess
import zipfile
from pathlib import Path

import pytest
from pictures import picture, write_pictures

from flows.command_line.application import main
from tasks.core.errors import BadInput
from tasks.ingestion import inspect as inspect_module
from tasks.ingestion.files.source_kind import kind_of_source
from tasks.ingestion.inspect import inspect
from tasks.ingestion.readers.image_folder import ImageFolder

CATS, DOGS = tuple(f"cat/{i}.png" for i in range(4)), tuple(f"dog/{i}.png" for i in range(4))


def _names(ingested) -> dict[str, str]:
    return dict(zip(ingested.column("source_id"), ingested.column("label"), strict=True))


def _notes(ingested) -> str:
    return "\n".join(ingested.artefact.facts.get("notes", []))


def test_photos_of_several_sizes_are_read_in_one_and_that_is_told(read, tmp_path):
    for i, size in enumerate([(90, 60), (60, 90), (70, 70), (12, 9), (300, 200), (80, 75)]):
        path = tmp_path / "photos" / "ab"[i % 2] / f"{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(i, size, "JPEG"))
    ingested = read(ImageFolder(path=tmp_path / "photos"))
    assert ingested.artefact.facts["payload"]["shape"] == [3, 64, 64]
    assert ingested.samples.num_rows == 6
    assert "pictures of 12×9 to 300×200 pixels are read as 64×64 (--reader.image-size)" in _notes(ingested)
    assert read(ImageFolder(path=tmp_path / "photos", image_size=8)).artefact.facts["payload"]["shape"] == [3, 8, 8]


def test_hidden_files_and_those_beside_pictures_are_left_out_and_counted(read, tmp_path):
    root = write_pictures(tmp_path / "data", *CATS, *DOGS, "cat/_MG_0001.png")
    write_pictures(root, ".ipynb_checkpoints/0.png", "cat/.ipynb_checkpoints/0.png", "__MACOSX/cat/._0.png")
    for name in (
        "cat/0.txt",
        "cat/0.json",
        "dog/Thumbs.db",
        "dog/desktop.ini",
        "cat/.DS_Store",
        "README.md",
        "LICENSE",
    ):
        (root / name).write_text("text")
    ingested = read(ImageFolder(path=root))
    assert _names(ingested) == {name: name[:3] for name in (*CATS, *DOGS, "cat/_MG_0001.png")}
    assert ingested.rejects.num_rows == 0
    assert "left out 10 of the files in data" in _notes(ingested)
    assert "(hidden)" in _notes(ingested)
    assert "Thumbs.db" in _notes(ingested)
    assert "(no picture by their suffixes)" in _notes(ingested)


def test_a_link_to_a_folder_is_followed_once_and_no_circle_of_them_forever(read, tmp_path):
    root = write_pictures(tmp_path / "data", *CATS)
    write_pictures(tmp_path / "elsewhere", *DOGS)
    (root / "dog").symlink_to(tmp_path / "elsewhere" / "dog")
    (root / "again").symlink_to(root / "cat")
    (root / "cat" / "circle").symlink_to(root)
    (root / "up").symlink_to(tmp_path)
    (root / "nowhere").symlink_to(tmp_path / "nothing")
    ingested = read(ImageFolder(path=root))
    assert _names(ingested) == {name: name[:3] for name in (*CATS, *DOGS)}
    assert "again, cat/circle, up (links to folders that are read already)" in _notes(ingested)


def test_a_class_may_be_called_train_where_one_says_so(read, tmp_path, capsys):
    root = write_pictures(
        tmp_path / "data", *(f"{label}/{i}.png" for label in ("car", "plane", "train") for i in range(3))
    )
    with pytest.raises(BadInput, match=r"train beside car, plane.*--reader\.splits '\[\]'"):
        ImageFolder(path=root).open()
    assert read(ImageFolder(path=root, splits=[])).artefact.facts["classes"] == ["car", "plane", "train"]
    assert main(["inspect", str(root), "--reader.splits=[]"]) == 0
    assert "car 3, plane 3, train 3" in capsys.readouterr().out


def test_splits_may_be_chosen_and_the_others_are_left_out_by_name(read, tmp_path):
    names = [f"{split}/{name}" for split in ("train", "test", "unsupervised") for name in (*CATS, *DOGS)]
    root = write_pictures(tmp_path / "data", *names)
    ingested = read(ImageFolder(path=root, splits=["train", "test"]))
    assert ingested.artefact.facts["splits"] == {"train": 8, "validation": 0, "test": 8}
    assert "left out 8 of the files in data: unsupervised/cat/0.png" in _notes(ingested)
    for splits in (["train", "tets"], ["unsupervised"]):
        with pytest.raises(BadInput, match="option splits"):
            ImageFolder(path=root, splits=splits).open()


def test_without_a_test_split_the_validation_split_is_the_held_out_test(read, tmp_path):
    root = write_pictures(
        tmp_path / "data", *(f"{split}/{name}" for split in ("train", "val") for name in (*CATS, *DOGS))
    )
    ingested = read(ImageFolder(path=root))
    assert ingested.artefact.facts["splits"] == {"train": 8, "validation": 0, "test": 8}
    assert "validation serve as the held-out test" in _notes(ingested)


def test_a_test_folder_without_classes_is_left_out_and_named(read, tmp_path):
    root = write_pictures(tmp_path / "data", *(f"train/{name}" for name in (*CATS, *DOGS)), "test/1.png", "test/2.png")
    ingested = read(ImageFolder(path=root, test_share=0.5))
    assert set(_names(ingested)) == {f"train/{name}" for name in (*CATS, *DOGS)}
    assert ingested.artefact.facts["splits"]["test"] > 0
    assert "left out 2 of the files in data: test/1.png, test/2.png (in no folder of a class" in _notes(ingested)
    assert "every labelled picture is in the split train" in _notes(ingested)


def test_a_class_of_the_test_split_alone_is_named_with_its_reason(read, tmp_path, capsys):
    train = [f"train/{label}/{i}.png" for label in ("red", "green", "blue") for i in range(4)]
    root = write_pictures(
        tmp_path / "data", *train, *(f"test/{label}/{i}.png" for label in ("red", "lime") for i in range(3))
    )
    ingested = read(ImageFolder(path=root), max_rejects=0.05)
    assert set(ingested.reasons.values()) == {"class not in train"}
    assert ingested.artefact.facts["rejects"] == {"class not in train": 3}
    assert ingested.artefact.facts["untrained_classes"] == ["lime"]
    assert "'lime'" in ingested.rejects["detail"][0].as_py()
    assert main(["inspect", str(root)]) == 0
    assert "no training sample is of class 'lime'" in capsys.readouterr().out


def test_the_level_of_the_classes_is_told_where_there_are_several(read, tmp_path):
    root = write_pictures(
        tmp_path / "data", *(f"photos/{label}/{day}/{i}.png" for label in "ab" for day in "xy" for i in range(2))
    )
    ingested = read(ImageFolder(path=root))
    assert ingested.artefact.facts["classes"] == ["a", "b"]
    assert "classes are the 2 folders in data/photos: a, b; 8 pictures in folders below them" in _notes(ingested)
    by_day = read(ImageFolder(path=root, class_pattern="./([xy])/"))
    assert by_day.artefact.facts["classes"] == ["x", "y"]


def test_names_may_carry_the_class(read, tmp_path, capsys):
    names = [f"{label}.{i}.jpg" for label in ("cat", "dog") for i in range(5)]
    root = write_pictures(tmp_path / "data", *names, "0001.jpg")
    with pytest.raises(BadInput, match=r"--reader\.class-pattern '\(\?P<label>\[a-z\]\+\)\\\.'"):
        ImageFolder(path=root).open()
    ingested = read(ImageFolder(path=root, class_pattern=r"(?P<label>[a-z]+)\."))
    assert _names(ingested) == {name: name[:3] for name in names}
    assert "0001.jpg (of names in which --reader.class-pattern finds no label)" in _notes(ingested)
    assert main(["inspect", str(root), r"--reader.class-pattern=(?P<label>[a-z]+)\."]) == 0
    assert "cat 5, dog 5" in capsys.readouterr().out


@pytest.mark.parametrize("pattern", ["(", "[a-z]+"])
def test_a_pattern_must_be_one_and_say_what_the_label_is(pattern, tmp_path):
    with pytest.raises(ValueError, match="expected a"):
        ImageFolder(path=tmp_path, class_pattern=pattern)


def test_one_folder_of_pictures_beside_a_table_says_how_to_read_that(tmp_path):
    root = write_pictures(tmp_path / "data", *(f"images/{i}.png" for i in range(4)))
    (root / "labels.csv").write_text("filename,label\n")
    with pytest.raises(BadInput, match=r"one folder, images, and a table beside it, labels\.csv.*--reader\.image"):
        ImageFolder(path=root).open()
    (root / "labels.csv").unlink()
    with pytest.raises(BadInput, match=r"got one folder, images\. .*--reader\.class-pattern"):
        ImageFolder(path=root).open()


def test_broken_files_are_rejected_by_name_and_cause_and_others_read(read, tmp_path):
    root = write_pictures(tmp_path / "data", *CATS, *DOGS)
    (root / "cat/0.png").write_bytes(picture(90, form="JPEG")[:200])
    (root / "cat/1.png").write_bytes(b"")
    (root / "dog/0.png").write_text("<!DOCTYPE html>")
    (root / "dog/1.png").write_bytes(picture(91, form="JPEG"))
    (root / "dog/9.gif").write_bytes(picture(92, form="GIF"))
    (root / "dog/8.webp").write_bytes(picture(93, form="WEBP"))
    ingested = read(ImageFolder(path=root))
    details = "\n".join(ingested.rejects["detail"].to_pylist())
    assert ingested.rejects.num_rows == 3
    assert "cat/1.png: not a decodable image (an empty file)" in details
    assert "dog/0.png: not a decodable image (it begins with b'<!DOCTYPE ht')" in details
    assert "cat/0.png: " in details


# ---- archives ----------------------------------------------------------------------------------------------------


def _zip(path: Path, *names: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for seed, name in enumerate(names):
            archive.writestr(name, picture(seed))
    return path


def test_an_archive_is_read_as_its_folder_is(read, tmp_path):
    names = [f"photos/{name}" for name in (*CATS, *DOGS)]
    path = _zip(tmp_path / "photos.zip", *names, "__MACOSX/photos/cat/._0.png")
    assert kind_of_source(path) == "image_folder"
    zipped, plain = (read(ImageFolder(path=source)) for source in (path, write_pictures(tmp_path / "plain", *names)))
    assert sorted(zipped.column("sample_id")) == sorted(plain.column("sample_id"))
    assert _names(zipped) == _names(plain)


def test_of_one_name_twice_in_an_archive_the_last_is_read_and_the_other_counted(read, tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        path = _zip(tmp_path / "a.zip", CATS[0], *CATS, *DOGS)
    ingested = read(ImageFolder(path=path))
    assert sorted(ingested.column("source_id")) == sorted([*CATS, *DOGS])
    data = dict(zip(ingested.column("source_id"), ingested.column("image"), strict=True))
    assert data[CATS[0]] == picture(1)
    assert f"left out 1 of the files in a.zip: {CATS[0]} (of a name that" in _notes(ingested)


@pytest.mark.parametrize("written", ["/data/{}", "./{}", "C:\\data\\{}"])
def test_names_in_an_archive_may_begin_at_a_root_and_have_the_separators_of_windows(read, tmp_path, written):
    names = [written.format(name) for name in (*CATS, *DOGS)]
    path = _zip(tmp_path / "a.zip", *(name.replace("/", "\\") if "\\" in name else name for name in names))
    assert kind_of_source(path) == "image_folder"
    assert set(_names(read(ImageFolder(path=path))).values()) == {"cat", "dog"}


def test_a_damaged_archive_is_refused_and_a_damaged_picture_in_one_rejected(read, tmp_path):
    path = _zip(tmp_path / "a.zip", *CATS, *DOGS)
    content = bytearray(path.read_bytes())
    content[60:64] = bytes(4)
    path.write_bytes(content)
    assert read(ImageFolder(path=path)).rejects.num_rows == 1
    path.write_bytes(content[:-30])
    with pytest.raises(BadInput, match="zip archive"):
        ImageFolder(path=path).open()


# ---- other people's annotations ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("form", "name", "content"),
    [
        (
            "COCO",
            "annotations/instances_train2017.json",
            '{"images": [{"id": 1, "file_name": "1.png"}], "categories": [{"id": 7, "name": "cat"}, {"id": 8, "name": '
            '"dog"}], "annotations": [{"image_id": 1, "category_id": 8}, {"image_id": 1, "category_id": 7}]}',
        ),
        (
            "VOC",
            "Annotations/1.xml",
            "<annotation><filename>1.png</filename><object><name>dog</name></object><object><name>cat</name></object>"
            "</annotation>",
        ),
    ],
)
def test_annotations_of_objects_are_refused_with_the_way_to_a_table(form, name, content, tmp_path):
    root = write_pictures(tmp_path / "data", "train2017/1.png", "val2017/2.png")
    (root / name).parent.mkdir()
    (root / name).write_text(content)
    with pytest.raises(BadInput, match=f"{form}'s annotations of objects") as caught:
        ImageFolder(path=root).open()
    command = caught.value.do.partition(": ")[2].partition("; then")[0]
    words = shlex.split(command)
    assert words[-2:] == [">", "labels.csv"]
    written = subprocess.run(words[:-2], check=True, capture_output=True, text=True).stdout
    assert written.split() == ["path,label", "1.png,cat|dog"]


# ---- large sets --------------------------------------------------------------------------------------------------


def test_a_limit_and_a_look_take_pictures_of_every_folder(read, tmp_path, monkeypatch, capsys):
    root = write_pictures(tmp_path / "data", *(f"{label}/{i}.png" for label in "abcd" for i in range(30)))
    ingested = read(ImageFolder(path=root, limit=40))
    assert ingested.samples.num_rows == 40
    assert ingested.artefact.facts["classes"] == ["a", "b", "c", "d"]
    monkeypatch.setattr(inspect_module, "MOST_BYTES", 10_000)
    seen = inspect(ImageFolder(path=root))
    assert not seen.whole
    assert set(seen.labels) == {"a", "b", "c", "d"}
    assert seen.refusal is None


def test_a_file_elsewhere_than_the_class_folders_changes_no_fingerprint(tmp_path):
    root = write_pictures(tmp_path / "data", *CATS, *DOGS)
    before = ImageFolder(path=root).fingerprint()
    (root / "notes.txt").write_text("text")
    assert ImageFolder(path=root).fingerprint() == before
    (root / "cat/0.png").rename(root / "dog/7.png")
    assert ImageFolder(path=root).fingerprint() != before
