"""Tables of pictures: encoded in a column, in base64, or in files beside the table that a column names."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pictures import picture, write_pictures

from flows.command_line.application import main
from tasks.core.errors import BadInput
from tasks.ingestion.files.source_kind import kind_of_source
from tasks.ingestion.readers.arrow import Arrow
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.huggingface import HuggingFace
from tasks.ingestion.readers.jsonl import Jsonl
from tasks.ingestion.readers.parquet import Parquet

N = 8
NAMES = [f"{i:03d}.png" for i in range(N)]
LABELS = [("cat", "dog")[i % 2] for i in range(N)]
PICTURES = [picture(i) for i in range(N)]


def _csv(path: Path, names: list[str], header: str = "path,label") -> Path:
    rows = [f"{name},{label}" for name, label in zip(names, LABELS, strict=False)]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def _notes(ingested) -> str:
    return "\n".join(ingested.artefact.facts.get("notes", []))


# ---- paths -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("folder", ["", "images", "labels", "train", "deep/er"])
@pytest.mark.parametrize("named", [True, False])
def test_paths_are_read_relative_to_the_table_and_to_folders_beside_it(read, tmp_path, folder, named):
    write_pictures(tmp_path / "data" / folder, *NAMES)
    names = [f"deep/er/{name}" for name in NAMES] if folder == "deep/er" else NAMES
    reader = Csv(path=_csv(tmp_path / "data" / "labels.csv", names), **({"image": "path"} if named else {}))
    ingested = read(reader)
    assert ingested.column("image") == PICTURES
    assert ingested.column("label") == LABELS
    assert ingested.column("source_id") == ingested.column("path") == names
    assert ("inputs are the pictures of the column 'path'" in _notes(ingested)) is not named


def test_a_table_may_be_named_by_another_way_and_paths_be_whole(read, tmp_path, monkeypatch):
    write_pictures(tmp_path / "data", *(f"images/{name}" for name in NAMES))
    (tmp_path / "alias").symlink_to(tmp_path / "data")
    (tmp_path / "alias" / "work").mkdir()
    monkeypatch.chdir(tmp_path / "alias" / "work")
    _csv(tmp_path / "data" / "labels.csv", NAMES)
    assert read(Csv(path=Path("../labels.csv"), image="path")).column("image") == PICTURES
    whole = [str(tmp_path / folder / "images" / NAMES[0]) for folder in ("data", "alias")]
    both = Csv(path=_csv(tmp_path / "alias" / "whole.csv", [*whole, *NAMES[2:]]), image="path")
    assert read(both).column("image") == [PICTURES[0], PICTURES[0], *PICTURES[2:]]


def test_a_test_tables_pictures_are_not_those_of_the_training_ones(read, tmp_path):
    write_pictures(tmp_path / "data", *(f"train/{name}" for name in NAMES))
    for name in ("train.csv", "test.csv"):
        _csv(tmp_path / "data" / name, NAMES)
    ingested = read(Csv(path=tmp_path / "data", image="path"))
    assert ingested.samples.num_rows == N
    assert ingested.rejects["reason"].to_pylist() == ["missing picture"] * N


def test_names_may_lack_their_suffix_or_have_another_systems_slashes(read, tmp_path):
    write_pictures(tmp_path / "data", *(f"sub/{name}" for name in NAMES))
    plain = read(Csv(path=_csv(tmp_path / "data" / "a.csv", [f"sub/{name[:-4]}" for name in NAMES]), image="path"))
    assert plain.column("image") == PICTURES
    write_pictures(tmp_path / "data", *(f"images/sub/{name}" for name in NAMES))
    for cell in (r"sub\{}", r"images/sub\{}", r".\images/sub\{}"):
        other = read(Csv(path=_csv(tmp_path / "data" / "b.csv", [cell.format(name) for name in NAMES]), image="path"))
        assert other.column("image") == PICTURES


@pytest.mark.parametrize(
    ("name", "reason", "words"),
    [
        ("nowhere.png", "missing picture", "no file nowhere.png"),
        ("", "missing value", "column path"),
        ("../secret.png", "path of a picture elsewhere", "leads out of the folder"),
        ("images/../../secret.png", "path of a picture elsewhere", "leads out of the folder"),
        (r"images/..\..\secret.png", "path of a picture elsewhere", "leads out of the folder"),
        ("linked.png", "path of a picture elsewhere", "leads out of the folder"),
        ("/etc/hostname", "path of a picture elsewhere", "leads out of the folder"),
        ("https://example.org/a.png", "missing picture", "a web address"),
        ("text.png", "undecodable image", "text.png: not a decodable image (it begins with b'hello'"),
    ],
)
def test_a_path_that_gives_no_picture_rejects_its_row_with_the_reason(read, tmp_path, name, reason, words):
    write_pictures(tmp_path / "data", *NAMES)
    write_pictures(tmp_path, "secret.png")
    (tmp_path / "data/linked.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "data/text.png").write_text("hello")
    ingested = read(Csv(path=_csv(tmp_path / "data" / "labels.csv", [*NAMES[:-1], name]), image="path"))
    assert ingested.reasons == {N - 1: reason}
    assert words in ingested.rejects["detail"][0].as_py()


def test_a_table_none_of_whose_pictures_is_there_is_refused(tmp_path):
    with pytest.raises(BadInput, match=r"no file 007\.png in the folder of the table"):
        Csv(path=_csv(tmp_path / "labels.csv", NAMES), image="path").open()


def test_a_changed_picture_changes_the_fingerprint(tmp_path):
    write_pictures(tmp_path / "data", *(f"images/{name}" for name in NAMES))
    readers = [Csv(path=_csv(tmp_path / "data" / "labels.csv", NAMES), **named) for named in ({}, {"image": "path"})]
    before = [reader.fingerprint() for reader in readers]
    (tmp_path / "data/images/003.png").write_bytes(picture(99))
    assert all(reader.fingerprint() != one for reader, one in zip(readers, before, strict=True))
    assert (tmp_path / "data/images/003.png") in readers[0].files()


def test_text_that_only_looks_like_paths_is_no_column_of_pictures(read, tmp_path):
    rows = [f"{name},{i * i},{LABELS[i]}" for i, name in enumerate(NAMES)]
    (tmp_path / "a.csv").write_text("\n".join(["path,area,label", *rows]))
    assert read(Csv(path=tmp_path / "a.csv")).artefact.facts["payload"]["columns"] == ["area"]
    write_pictures(tmp_path, *NAMES)
    assert read(Csv(path=tmp_path / "a.csv")).artefact.facts["payload"]["columns"] == ["image"]
    features = read(Csv(path=tmp_path / "a.csv", features=["area"]))
    assert features.artefact.facts["payload"]["columns"] == ["area"]


# ---- folders with a table ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "kind"),
    [
        (["images/0.png", "images/1.png", "labels.csv"], "csv"),
        (["0.png", "1.png", "labels.csv"], "csv"),
        (["train/0.png", "train/1.png", "test/0.png", "train.csv", "sample_submission.csv"], "csv"),
        (["train/0.png", "train/1.png", "train/metadata.jsonl", "test/0.png", "test/metadata.jsonl"], "jsonl"),
        (["cat/0.png", "cat/1.png", "dog/0.png", "metadata.csv"], "csv"),
        (["cat/0.png", "dog/0.png", "dog/1.png", "labels.csv"], "image_folder"),
        (["train/cat/0.png", "train/dog/0.png", "labels.csv"], "image_folder"),
    ],
)
def test_a_folder_of_pictures_is_its_tables_where_its_folders_say_no_classes(tmp_path, names, kind):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert kind_of_source(tmp_path) == kind


def test_hubs_folders_with_metadata_are_read_by_their_splits(tmp_path, capsys, read):
    for split, first in (("train", 0), ("test", 100)):
        folder = tmp_path / "data" / split
        folder.mkdir(parents=True)
        for i, name in enumerate(NAMES):
            (folder / name).write_bytes(picture(first + i))
        lines = (json.dumps({"file_name": name, "label": label}) for name, label in zip(NAMES, LABELS, strict=True))
        (folder / "metadata.jsonl").write_text("\n".join(lines))
    ingested = read(Jsonl(path=tmp_path / "data", image="file_name"))
    assert ingested.artefact.facts["splits"] == {"train": N, "validation": 0, "test": N}
    assert "left out" not in _notes(ingested)
    assert main(["inspect", str(tmp_path / "data")]) == 0
    assert "inputs are the pictures of the column 'file_name'" in capsys.readouterr().out


# ---- pictures in the table ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "cell",
    [
        lambda i: base64.b64encode(PICTURES[i]).decode(),
        lambda i: "data:image/png;base64," + base64.b64encode(PICTURES[i]).decode(),
        lambda i: {"bytes": base64.b64encode(PICTURES[i]).decode(), "path": None},
        lambda i: {"bytes": None, "path": NAMES[i]},
        lambda i: base64.encodebytes(picture(i, form="JPEG")).decode(),
    ],
    ids=["base64", "data-uri", "object", "path", "jpeg-with-lines"],
)
def test_json_holds_pictures_in_base64_or_names_them(read, tmp_path, cell):
    write_pictures(tmp_path, *NAMES)
    lines = (json.dumps({"photo": cell(i), "label": LABELS[i]}) for i in range(N))
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    ingested = read(Jsonl(path=tmp_path / "a.jsonl", image="photo"))
    column = "image" if "image" in ingested.samples.column_names else "photo"
    assert [data[:4] for data in ingested.column(column)] == [
        data[:4] for data in ([picture(0, form="JPEG")] * N if "\n" in str(cell(0)) else PICTURES)
    ]
    assert ingested.samples.num_rows == N


def test_base64_that_is_none_rejects_its_row(read, tmp_path):
    cells = [base64.b64encode(data).decode() for data in PICTURES[:-1]] + ["*" * 80]
    table = [json.dumps({"photo": cell, "label": label}) for cell, label in zip(cells, LABELS, strict=True)]
    (tmp_path / "a.jsonl").write_text("\n".join(table))
    ingested = read(Jsonl(path=tmp_path / "a.jsonl", image="photo"))
    assert ingested.reasons == {N - 1: "undecodable image"}


@pytest.mark.parametrize("inside", [True, False])
def test_bytes_and_path_are_found_without_a_name_and_a_path_alone_is_read(read, tmp_path, inside):
    write_pictures(tmp_path, *NAMES)
    cells = [{"bytes": PICTURES[i] if inside else None, "path": NAMES[i]} for i in range(N)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"photo": pa.array(cells, kind), "label": LABELS, "a": range(N)}), tmp_path / "a.parquet")
    ingested = read(Parquet(path=tmp_path / "a.parquet"))
    assert ingested.column("photo") == PICTURES
    assert ingested.column("source_id") == NAMES
    assert "inputs are the pictures of the column 'photo'" in _notes(ingested)


def test_sounds_are_no_pictures_though_they_have_the_same_fields(read, tmp_path):
    cells = pa.array([{"bytes": b"RIFF" + bytes(40), "path": f"{i}.wav"} for i in range(N)])
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    area = [i * i for i in range(N)]
    pq.write_table(pa.table({"sound": cells.cast(kind), "area": area, "label": LABELS}), tmp_path / "a.parquet")
    assert read(Parquet(path=tmp_path / "a.parquet")).artefact.facts["payload"]["columns"] == ["area"]


def test_two_columns_of_pictures_ask_for_a_name(tmp_path):
    cells = pa.array([{"bytes": data, "path": None} for data in PICTURES])
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    pq.write_table(pa.table({"a": cells.cast(kind), "b": cells.cast(kind), "label": LABELS}), tmp_path / "a.parquet")
    with pytest.raises(BadInput, match=r"got a, b\. Name it: --reader\.image a"):
        Parquet(path=tmp_path / "a.parquet").open()


def test_a_grey_first_picture_makes_no_other_grey(read, tmp_path):
    import io

    from PIL import Image

    out = io.BytesIO()
    Image.new("L", (6, 6), 90).save(out, "PNG")
    pq.write_table(pa.table({"img": [out.getvalue(), *PICTURES[1:]], "label": LABELS}), tmp_path / "a.parquet")
    assert read(Parquet(path=tmp_path / "a.parquet", image="img")).artefact.facts["payload"]["shape"] == [3, 6, 6]
    grey = read(Parquet(path=tmp_path / "a.parquet", image="img", channels=1))
    assert grey.artefact.facts["payload"]["shape"] == [1, 6, 6]


def test_cocos_file_is_refused_with_the_way_to_a_table(tmp_path):
    (tmp_path / "instances.json").write_text('{"images": [{"id": 1}], "annotations": [], "categories": [{"id": 1}]}')
    with pytest.raises(BadInput, match=r"(?s)COCO's annotations.*--reader\.target labels"):
        Jsonl(path=tmp_path / "instances.json").open()


# ---- Hugging Face ------------------------------------------------------------------------------------------------

FEATURES = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}


def _hub_table(labels: list[int]) -> pa.Table:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": data, "path": None} for data in PICTURES], kind)
    table = pa.table({"image": cells, "label": pa.array(labels, pa.int64())})
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}})})


@pytest.mark.parametrize("reader", [Parquet, Arrow])
def test_classes_have_the_names_that_the_files_metadata_give(read, tmp_path, reader):
    path = tmp_path / f"a.{reader.suffixes[0][1:]}"
    table = _hub_table([0, 1] * 3 + [-1, 7])
    if reader is Parquet:
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    ingested = read(reader(path=path))
    assert ingested.column("label") == ["cat", "dog"] * 3
    assert ingested.reasons == {6: "missing label", 7: "missing label"}
    assert "classes have the names that its Hugging Face metadata gives them: label" in _notes(ingested)


def _hub(path: Path, *splits: str) -> Path:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]))
    parts = {
        split: datasets.Dataset.from_dict(
            {
                "image": [{"bytes": picture(1000 * n + i), "path": None} for i in range(N)],
                "label": [0, 1] * (N // 2),
            },
            features=features,
        )
        for n, split in enumerate(splits)
    }
    (datasets.DatasetDict(parts) if len(splits) > 1 else parts[splits[0]]).save_to_disk(str(path))
    return path


def test_a_saved_dataset_is_recognised_and_its_pictures_found(tmp_path, capsys):
    path = _hub(tmp_path / "data", "train")
    assert main(["inspect", str(path)]) == 0
    out = capsys.readouterr().out
    assert "inputs are the pictures of the column 'image'" in out
    assert "labels: cat 4, dog 4" in out


def test_splits_of_other_names_are_left_out_and_told(read, tmp_path):
    path = _hub(tmp_path / "data", "train", "test", "unsupervised")
    ingested = read(HuggingFace(path=path, image="image"))
    assert ingested.artefact.facts["splits"] == {"train": N, "validation": 0, "test": N}
    assert "left out the splits unsupervised (--reader.splits" in _notes(ingested)
    assert read(HuggingFace(path=path, splits=["train"])).artefact.facts["splits"]["test"] < N


def test_of_train_and_validation_the_latter_is_the_held_out_test(read, tmp_path):
    ingested = read(HuggingFace(path=_hub(tmp_path / "data", "train", "validation")))
    assert ingested.artefact.facts["splits"] == {"train": N, "validation": 0, "test": N}
    assert "validation serves as the held-out test" in _notes(ingested)


def test_a_label_of_another_name_is_asked_for(tmp_path):
    datasets = pytest.importorskip("datasets")
    part = datasets.Dataset.from_dict({"image": PICTURES, "labels": LABELS})
    part.save_to_disk(str(tmp_path / "data"))
    with pytest.raises(BadInput, match=r"Did you mean --reader\.label labels\?"):
        HuggingFace(path=tmp_path / "data", image="image").open()
