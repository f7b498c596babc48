"""Pictures through a frozen encoder of one's own: encoded once, proved on, published as the pictures they were."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.support.tiny_encoders import OWN, colours

OPTIONS = (
    "--dataset=colours", "--reader.image=image", "--reader.label=label", "--model.kind=encoder", "--model.size=16",
    "--model.encoder-factory=own_encoders:mean", "--training.epochs=20", "--training.batch-size=8", "--folds=2",
    "--budget.kind=share", "--budget.share=0.1", "--verification.seeds=1", "--ingestion.max-rejects=0",
)  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A module of one's own, and 150 pictures of which the first ten bear another colour's name."""
    folder = tmp_path_factory.mktemp("colours")
    (folder / "own_encoders.py").write_text(OWN)
    names = ["red", "green", "blue"]
    labels = [names[(index + (index < 10)) % 3] for index in range(150)]
    # Two of them once more, each under another colour's name.
    pictures = colours(150)
    copies = {"image": pa.array([*pictures, *pictures[20:22]], pa.binary()), "label": [*labels, *names[:2]]}
    table = pa.table(copies)
    pq.write_table(table, folder / "pictures.parquet")
    return folder


@pytest.fixture(scope="module")
def clean(home, gradsieve):
    """Run it in that folder, with more options."""

    def run(*more: str):
        done = gradsieve(
            "clean", f"--reader.path={home}/pictures.parquet", f"--lake={home}/lake", *OPTIONS, *more, folder=home
        )
        assert done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture(scope="module")
def first(clean):
    """What the first run said."""
    return clean("--detectors=l2")


def facts(home: Path) -> list[dict]:
    return [json.loads(path.read_text())["facts"] for path in sorted((home / "lake" / "runs").glob("*/run.json"))]


def test_wrong_labels_are_found_among_the_vectors(home, first):
    (run,) = sorted((home / "lake" / "runs").iterdir())
    flags = pq.read_table(run / "flags.parquet").to_pylist()
    samples = pa.concat_tables([pq.read_table(path) for path in (run / "samples").glob("*.parquet")]).to_pylist()
    row_of = {sample["sample_id"]: sample["row"] for sample in samples}
    flagged = [row_of[flag["sample_id"]] for flag in flags if flag["flag"]]
    assert sum(row < 10 for row in flagged) >= 5
    assert "network encoder (your own), 15 parameters" in first.stdout
    assert "if that was trained on these labels, it has seen the wrong ones too" in first.stdout


def test_the_page_shows_copies_beside_one_another_and_what_contradicts_first(home, first):
    (page,) = (home / "lake" / "reports").glob("*.html")
    section = page.read_text().partition('id="copies"')[2].partition('id="numbers"')[0]
    pairs = section.split("<li>")[1:]
    assert len(pairs) == 2
    assert all(pair.count("<img") == 2 and "different labels" in pair for pair in pairs)
    assert "pictures.parquet row 20" in section
    assert "pictures.parquet row 150" in section


def test_what_is_published_are_the_pictures(home, first):
    assert facts(home)[0]["samples"]["payload"]["kind"] == "image"
    parts = list((home / "lake" / "versions" / "colours" / "contents").rglob("*.parquet"))
    assert parts
    assert all(pq.read_schema(path).field("image").type == pa.binary() for path in parts if "data" in str(path.parent))


def test_the_next_run_encodes_nothing_and_recomputes_what_changed(home, clean, first):
    assert "encode: 150 of the samples are new to the encoder" in first.stderr
    parts = sorted((home / "lake" / "features").rglob("*.arrow"))
    again = clean("--detectors=l2,l1")
    assert "new to the encoder" not in again.stderr
    assert sorted((home / "lake" / "features").rglob("*.arrow")) == parts
    assert "recomputed scores" in again.stdout


def test_without_an_encoder_there_is_no_space_of_one(home, gradsieve):
    done = gradsieve(
        "clean", f"--reader.path={home}/pictures.parquet", "--reader.image=image", f"--lake={home}/lake2",
        "--neighbours.space=encoder",
    )  # fmt: skip
    assert done.returncode == 2
    assert "Name one by --model.kind encoder --model.weights FOLDER" in done.stderr


def test_a_training_script_gets_the_vectors_that_the_run_made(home, first, monkeypatch):
    from tasks.dataset.encoders.frozen_pictures import OwnPictures
    from tasks.versions.live import LiveDataset

    monkeypatch.syspath_prepend(str(home))
    encoder = OwnPictures(factory="own_encoders:mean", size=16)
    stored = LiveDataset(home / "lake" / "versions", "colours", "v0001", encoder=encoder)
    monkeypatch.setattr("tasks.dataset.feature_store.FOLDER", "nowhere")
    anew = LiveDataset(home / "lake" / "versions", "colours", "v0001", encoder=encoder)
    assert stored.tensors.x.shape == (len(stored), 4)
    assert stored.tensors.ids == anew.tensors.ids
    np.testing.assert_allclose(stored.tensors.x, anew.tensors.x, rtol=1e-5)
    assert LiveDataset(home / "lake" / "versions", "colours", "v0001").tensors.x.dim() == 4
