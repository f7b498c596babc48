"""Copies are found across splits and labels, and what is left out for them is what was asked, by decision."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tasks.core.errors import BadInput
from tasks.dataset.feature_store import FeatureStore
from tasks.dataset.payload import Payload
from tasks.dataset.samples import load, table_of
from tasks.ingestion.copies import COPIES, LEAKS, LEFT_OUT, NEAR_CONTENTS, Copies
from tasks.ingestion.find_copies import find_copies
from tasks.ingestion.ingest import ingest
from tasks.ingestion.leave_out_copies import leave_out_copies
from tasks.ingestion.near_copies import spare_copies
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.readers.image_folder import ImageFolder
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Artefact, Run

SCHEMAS = {"near_copies": COPIES, "leaks": LEAKS, "left_out": LEFT_OUT, "near_contents": NEAR_CONTENTS}


class Found:
    """A source that has been read, and its copies."""

    def __init__(self, run: Run, samples: Artefact, **options: Any) -> None:
        self.run, self.samples = run, samples
        self.artefact = find_copies.fn(run, samples, Copies(**options))
        self.facts = self.artefact.facts

    def rows(self, name: str) -> list[dict[str, Any]]:
        table = pq.read_table(self.run.paths(self.artefact, f"{name}.parquet")[0])
        assert table.schema.equals(SCHEMAS[name])
        return table.to_pylist()

    def sources(self, samples: Artefact | None = None) -> dict[str, str]:
        """sample_id → text or file name."""
        table = table_of(self.run, samples or self.samples, ["sample_id", "source_id"])
        return dict(zip(table["sample_id"].to_pylist(), table["source_id"].to_pylist(), strict=True))

    def named(self, name: str) -> set[tuple[str, str]]:
        """Pairs of a table, by what the source calls them."""
        of = self.sources()
        return {(of[row["sample_id"]], of[row["other_id"]]) for row in self.rows(name)}


def words(seed: int) -> str:
    generator = np.random.default_rng(seed)
    return " ".join(generator.choice([a + b for a in "bdfglmnprst" for b in ("an", "el", "ir", "os", "u")], 30))


def texts(tmp_path: Path, rows: list[tuple[str, str, str, str]]) -> tuple[Run, Artefact]:
    """(id, text, label, split), and enough others for two classes."""
    rest = [(f"r{i}", words(1000 + i), "ab"[i % 2], ("train", "train", "test")[i % 3]) for i in range(30)]
    path = tmp_path / "texts.csv"
    tmp_path.mkdir(exist_ok=True)
    lines = ["id,text,label,split", *(f'{name},"{text}",{label},{split}' for name, text, label, split in rows + rest)]
    path.write_text("\n".join(lines), encoding="utf-8")
    run = Run.start(tmp_path / "lake", "texts")
    reader = Csv(path=path, text="text", label="label", split="split", id="id")
    return run, ingest.fn(run, reader, Ingestion())


ONE, TWO, THREE = words(1), words(2), words(3)
ROWS = [
    ("one", ONE, "a", "train"),
    ("one again", ONE, "a", "test"),
    ("one shouted", ONE.upper() + "!", "a", "train"),
    ("two", TWO, "a", "train"),
    ("two with a comma", TWO.replace(" ", ", ", 1), "b", "train"),
    ("two with a stop", TWO + ".", "a", "train"),
    ("two in quotes", f"'{TWO}'", "a", "train"),
    ("three", THREE, "b", "train"),
    ("three with a stop", THREE + ".", "b", "validation"),
]


def test_texts_with_other_marks_are_copies_across_splits_and_labels(tmp_path):
    found = Found(*texts(tmp_path, ROWS))
    assert found.facts["near"] == {"pairs": 1 + 6 + 1, "samples": len(ROWS)}
    assert found.facts["contradictions"] == 4
    assert found.facts["leaks"] == {"exact": 1, "near": 1}
    assert (found.facts["left_out"], found.rows("left_out"), found.facts["skipped"]) == ({}, [], {})
    near = found.rows("near_copies")
    assert {row["kind"] for row in near} == {"near"}
    contradictions = {(row["label"], row["other_label"]) for row in near if row["label"] != row["other_label"]}
    assert contradictions == {("a", "b"), ("b", "a")}
    assert found.named("leaks") == {
        ("one again", "one"), ("one", "one again"), ("one shouted", "one again"),
        ("three", "three with a stop"), ("three with a stop", "three"),
    }  # fmt: skip
    # What shares a fold is of the training samples alone.
    assert len(found.rows("near_contents")) == 1 + 6


def test_leaks_leave_the_training_copy_out_and_the_test_stays(tmp_path):
    found = Found(*texts(tmp_path, ROWS), remove="leaks")
    assert found.facts["left_out"] == {
        "exact copy of a test sample": 1, "near copy of a test sample": 1, "near copy of a validation sample": 1,
    }  # fmt: skip
    assert found.facts["leaks"] == {}
    assert {(row["label"], row["split"]) for row in found.rows("left_out")} == {("a", "train"), ("b", "train")}
    kept = leave_out_copies.fn(found.run, found.samples, found.artefact)
    assert set(found.sources().values()) - set(found.sources(kept).values()) == {"one", "one shouted", "three"}
    assert kept.facts["splits"] == found.samples.facts["splits"] | {"train": found.samples.facts["splits"]["train"] - 3}
    assert kept.facts["classes"] == found.samples.facts["classes"]
    assert len(load(found.run, kept, "train").ids) == kept.facts["splits"]["train"]


def test_a_label_of_which_nothing_is_left_is_told(tmp_path):
    run, samples = texts(
        tmp_path,
        [
            (f"{i}{split}", words(i) + mark, "c", split)
            for i in (1, 2)
            for split, mark in (("train", ""), ("test", "!"))
        ],
    )
    assert "emptied" not in Found(run, samples).facts
    assert Found(run, samples, remove="leaks").facts["emptied"] == ["c"]


def test_a_training_set_of_which_less_than_half_or_one_label_would_stay_is_refused(tmp_path):
    copies = [(f"{i}{split}", words(i), "ab"[i % 2], split) for i in range(2, 50) for split in ("train", "test")]
    found = Found(*texts(tmp_path / "most", copies), remove="leaks")
    with pytest.raises(BadInput, match=r"copies\.remove.*48 would be left out, 20 stay"):
        leave_out_copies.fn(found.run, found.samples, found.artefact)
    rows = [(f"{i}{split}", words(i), "a", split) for i in range(2, 9) for split in ("train", "test")]
    path = tmp_path / "one.csv"
    rest = [(f"r{i}", words(1000 + i), "b", ("train", "train", "test")[i % 3]) for i in range(30)]
    path.write_text("\n".join(["id,text,label,split", *(",".join(row) for row in rows + rest)]))
    run = Run.start(tmp_path / "lake", "texts")
    samples = ingest.fn(run, Csv(path=path, text="text", label="label", split="split", id="id"), Ingestion())
    with pytest.raises(BadInput, match="7 would be left out, 20 stay, of 1 label"):
        leave_out_copies.fn(run, samples, Found(run, samples, remove="leaks").artefact)


def test_train_keeps_one_of_several_copies_under_each_label(tmp_path):
    found = Found(*texts(tmp_path, ROWS), remove="train")
    kept = leave_out_copies.fn(found.run, found.samples, found.artefact)
    names = set(found.sources(kept).values())
    assert len(names & {"two", "two with a stop", "two in quotes"}) == 1
    assert "two with a comma" in names
    assert found.facts["left_out"]["near copy of a training sample of the same label"] == 2
    assert found.facts["contradictions"] == 4


@pytest.mark.parametrize("of", [ONE, ONE + "."], ids=["the one", "the other"])
def test_train_keeps_one_of_near_copies_that_have_exact_ones(tmp_path, of):
    other = ONE + "." if of == ONE else ONE
    rows = [("a", of, "a", "train"), *((f"b{i}", other, "a", "train") for i in range(3))]
    found = Found(*texts(tmp_path, rows), remove="train")
    kept = leave_out_copies.fn(found.run, found.samples, found.artefact)
    assert len({"a", "b0", "b1", "b2"} & set(found.sources(kept).values())) == 1


def test_numbers_that_hardly_differ_contradict_no_more_than_equal_ones(tmp_path):
    rows = [
        *((f"r{i}", words(1000 + i), i, ("train", "train", "test")[i % 3]) for i in range(30)),
        ("one", ONE, 10, "train"), ("one again", ONE + ".", 10.5, "train"),
        ("two", TWO, 10, "train"), ("two again", TWO + ".", 20, "train"),
        ("three", THREE, 3, "train"), ("three again", THREE, 3.25, "train"),
    ]  # fmt: skip
    lines = ["id,text,label,split", *(f"{name},{text},{label},{split}" for name, text, label, split in rows)]
    (tmp_path / "numbers.csv").write_text("\n".join(lines))
    run = Run.start(tmp_path / "lake", "numbers")
    reader = Csv(path=tmp_path / "numbers.csv", text="text", label="label", split="split", id="id", target="number")
    found = Found(run, ingest.fn(run, reader, Ingestion()), remove="train")
    assert 1 < found.facts["tolerance"] < 2
    assert found.facts["near"]["pairs"] == 2
    assert found.facts["contradictions"] == 2
    assert found.facts["left_out"] == {
        "exact copy of a training sample of the same label": 1, "near copy of a training sample of the same label": 1,
    }  # fmt: skip


def test_who_does_not_want_near_copies_has_exact_ones_alone(tmp_path):
    found = Found(*texts(tmp_path, ROWS), near=False, remove="leaks")
    assert found.rows("near_copies") == found.rows("near_contents") == []
    assert found.facts["left_out"] == {"exact copy of a test sample": 1}


def test_a_copy_of_what_is_left_out_stays_unless_another_copy_of_it_does():
    table = pa.table({"sample_id": ["b", "c", "c", "d"], "other_id": ["a", "b", "a2", "c"]})
    assert spare_copies(table).to_pydict() == {"sample_id": ["b", "c"], "other_id": ["a", "a2"]}


def photo(seed: int) -> Image.Image:
    generator = np.random.default_rng(seed)
    small = Image.fromarray(generator.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize((48, 48), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos, of which ten stand in the other split too: as another file of the same pixels, and as a JPEG."""
    root = tmp_path / "photos"
    for i in range(60):
        split, name = ("train", "test")[i % 3 == 0], "ab"[i % 2]
        (root / split / name).mkdir(parents=True, exist_ok=True)
        photo(i).save(root / split / name / f"{i:03d}.png")
    for i in range(1, 29, 3):
        form = {"format": "JPEG", "quality": 70} if i % 2 else {"format": "PNG", "compress_level": 1}
        photo(i).save(root / "test" / "ab"[i % 2] / f"copy-{i:03d}.{form['format'].lower()}", **form)
    return root


def test_reencoded_pictures_are_found_across_splits(folder, tmp_path):
    run = Run.start(tmp_path / "lake", "photos")
    found = Found(run, ingest.fn(run, ImageFolder(path=folder), Ingestion(shard_rows=16)))
    assert found.facts["near"] == {"pairs": 10, "samples": 20}
    assert found.facts["leaks"] == {"near": 10}
    assert found.facts["skipped"] == {}
    assert {row["split"] for row in found.rows("near_copies")} == {"train", "test"}
    assert all(row["distance"] < 0.2 for row in found.rows("near_copies"))


def test_pictures_of_a_fixed_camera_are_told_and_nothing_follows_from_them(tmp_path):
    scene = np.asarray(photo(0).resize((98, 98), Image.Resampling.BICUBIC)).astype(float)
    generator = np.random.default_rng(0)
    for i in range(60):
        x, y = generator.integers(0, 3, 2)
        seen = scene[y : y + 96, x : x + 96] + generator.normal(0, 6, (96, 96, 3))
        name = ("good", "scratched")[i % 2]
        if name == "scratched":
            x, y = generator.integers(0, 84, 2)
            seen[y : y + 12, x : x + 3] += 40  # too thin for a comparison of sixteen parts a side
        target = tmp_path / "scene" / ("train", "train", "test")[i % 3] / name
        target.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8)).save(target / f"{i}.png")
    run = Run.start(tmp_path / "lake", "scene")
    found = Found(run, ingest.fn(run, ImageFolder(path=tmp_path / "scene"), Ingestion()), remove="train")
    assert found.facts["alike"]["of"] == 60
    assert found.facts["alike"]["pictures"] > 30
    assert {row["kind"] for row in found.rows("near_copies")} == {"alike"}
    assert (found.facts["contradictions"], found.facts["leaks"], found.facts["left_out"]) == (0, {}, {})
    assert found.rows("near_contents") == found.rows("leaks") == []


def test_a_folder_in_which_every_picture_stands_twice_is_no_series(tmp_path):
    for i in range(40):
        (tmp_path / "twice" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        photo(i).save(tmp_path / "twice" / "ab"[i % 2] / f"{i}.png")
        photo(i).save(tmp_path / "twice" / "ab"[i % 2] / f"{i}.jpeg", quality=80)
    run = Run.start(tmp_path / "lake", "twice")
    found = Found(run, ingest.fn(run, ImageFolder(path=tmp_path / "twice"), Ingestion()))
    assert "alike" not in found.facts
    assert found.facts["near"] == {"pairs": 40, "samples": 80}


def encoded(run: Run, samples: Artefact, encode: Callable[[list[str]], np.ndarray]) -> Artefact:
    """The samples as an encoder sees them that makes a vector of each content's sources."""
    store, digest = FeatureStore(run.lake, "e" * 64), "e" * 64
    table = table_of(run, samples, ["sample_id", "source_id"])
    names = [name[:32] for name in table["sample_id"].to_pylist()]
    first = np.unique(names, return_index=True)[1]
    sources = table["source_id"].to_pylist()
    store.add([names[i] for i in first], encode([sources[i] for i in first]).astype(np.float32))
    payload = Payload(kind="features", columns=("image",), shape=(32,), dtype="float32", encoder=digest)
    return samples.with_facts(payload=payload.model_dump(mode="json"))


def vectors_of(keys: list[int]) -> np.ndarray:
    """Vectors of which those of equal keys have a cosine of .99 and more."""
    noise = np.random.default_rng(0).standard_normal((len(keys), 32))
    return np.stack([np.random.default_rng(key).standard_normal(32) for key in keys]) + 0.01 * noise


def test_features_find_a_poor_jpeg_that_a_hash_misses(folder, tmp_path):
    photo(0).save(folder / "train" / "a" / "poor.jpeg", quality=10)
    run = Run.start(tmp_path / "lake", "photos")
    samples = ingest.fn(run, ImageFolder(path=folder), Ingestion(shard_rows=16))
    first = ("/000.png", "/poor.jpeg")
    features = encoded(
        run, samples, lambda names: vectors_of([0 if name.endswith(first) else i + 1 for i, name in enumerate(names)])
    )
    without, having = (find_copies.fn(run, samples, Copies(), given) for given in (None, features))
    assert having.facts["near"]["pairs"] == without.facts["near"]["pairs"] + 1
    assert having.facts["skipped"] == {}


@pytest.mark.parametrize("places", [1, 3])
def test_an_encoder_for_which_all_pictures_are_alike_makes_no_copies_and_is_told(folder, tmp_path, places):
    run = Run.start(tmp_path / "lake", "photos")
    samples = ingest.fn(run, ImageFolder(path=folder), Ingestion(shard_rows=16))
    features = encoded(run, samples, lambda names: vectors_of([i % (places + 1) for i in range(len(names))]))
    found = find_copies.fn(run, samples, Copies(remove="leaks"), features)
    assert found.facts["near"] == {"pairs": 10, "samples": 20}
    assert found.facts["skipped"] == {"the encoder cannot tell copies": 70}
    assert sum(found.facts["left_out"].values()) == 10


def test_an_encoders_pairs_of_texts_share_half_of_their_words_and_all_of_their_numbers(tmp_path):
    first = words(1).split()
    rows = [
        ("one", " ".join(first), "a", "train"),
        ("turned", " ".join(first[15:] + first[:15][::-1]), "a", "train"),
        ("other", words(2), "a", "train"),
        ("number", " ".join([*first[::-1], "7"]), "a", "train"),
    ]
    run, samples = texts(tmp_path, rows)
    named = {name for name, *_ in rows}
    features = encoded(
        run, samples, lambda names: vectors_of([0 if name in named else i + 1 for i, name in enumerate(names)])
    )
    found = find_copies.fn(run, samples, Copies(), features)
    assert found.facts["near"] == {"pairs": 1, "samples": 2}
    assert found.facts["skipped"] == {"the encoder cannot tell copies": 4}


def test_a_table_of_numbers_has_no_near_copies_and_tiny_pictures_are_counted(tmp_path):
    lines = ["x,y,label", *(f"{i}.5,{i % 7},{'ab'[i % 2]}" for i in range(40)), "1.5,1,b"]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    run = Run.start(tmp_path / "lake", "table")
    found = Found(run, ingest.fn(run, Csv(path=tmp_path / "table.csv", label="label"), Ingestion()))
    assert (found.facts["near"], found.facts["skipped"]) == ({"pairs": 0, "samples": 0}, {})
    for i in range(40):
        (tmp_path / "tiny" / "ab"[i % 2]).mkdir(parents=True, exist_ok=True)
        photo(i).resize((8, 8)).save(tmp_path / "tiny" / "ab"[i % 2] / f"{i}.png")
    found = Found(run, ingest.fn(run, ImageFolder(path=tmp_path / "tiny"), Ingestion()))
    assert found.facts["skipped"] == {"pictures of less than 16 pixels": 40}


def test_repeats_of_a_combination_of_values_are_neither_leaks_nor_left_out(tmp_path):
    lines = ["x,y,label", *(f"{i % 2},{i % 3},{'ab'[i % 2]}" for i in range(600))]
    (tmp_path / "table.csv").write_text("\n".join(lines))
    run = Run.start(tmp_path / "lake", "table")
    found = Found(run, ingest.fn(run, Csv(path=tmp_path / "table.csv", label="label"), Ingestion()), remove="train")
    assert "repeats" in found.samples.facts
    assert (found.facts["leaks"], found.facts["left_out"]) == ({}, {})
