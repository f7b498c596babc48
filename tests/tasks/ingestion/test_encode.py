"""Every content is encoded once in the lake's life, and everything after it receives the vectors."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadModel
from tasks.dataset.encoders.frozen_pictures import OwnPictures
from tasks.dataset.feature_store import FeatureStore
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load, split_of
from tasks.ingestion import encode as encoding
from tasks.ingestion.encode import encode
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.digits import Digits
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run
from tests.support.tiny_encoders import OWN, colours


@pytest.fixture(autouse=True)
def _own(tmp_path, monkeypatch):
    (tmp_path / "own_encoders.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path / "lake", "encode")


class Counted(OwnPictures):
    """Says how many pictures it was given."""

    def embedder(self, device):
        embed = super().embedder(device)

        def counted(cells):
            SEEN.append(len(cells))
            return embed(cells)

        return counted


SEEN: list[int] = []
ENCODER = Counted(factory="own_encoders:mean", size=16)


def ingested(run, tmp_path, pictures, labels=None):
    labels = labels or ["abc"[index % 3] for index in range(len(pictures))]
    table = pa.table({"image": pa.array(pictures, pa.binary()), "label": labels})
    pq.write_table(table, tmp_path / "t.parquet")
    reader = Parquet(path=tmp_path / "t.parquet", image="image", test_share=0.3)
    return ingest.fn(run, reader, Ingestion(max_rejects=0.5))


def test_networks_receive_the_vectors_in_the_order_of_the_samples(run, tmp_path):
    samples = ingested(run, tmp_path, colours(40))
    features = encode.fn(run, samples, ENCODER, "cpu")
    assert payload_of(features).shape == (4,)
    assert features.files == samples.files
    assert features.digest != samples.digest
    pixels, vectors = load(run, samples, "train"), load(run, features, "train")
    assert vectors.ids.tolist() == pixels.ids.tolist()
    direct = ENCODER.cells
    embed = OwnPictures(factory="own_encoders:mean", size=16).embedder("cpu")
    with pq.ParquetFile(run.path(samples, samples.files[0])) as file:
        batch = next(file.iter_batches(columns=["image"]))
    np.testing.assert_allclose(vectors.x.numpy(), embed(direct(batch, payload_of(samples))).numpy(), rtol=1e-5)


def test_only_what_is_new_is_encoded_and_a_copy_never(run, tmp_path):
    pictures = colours(30)
    SEEN.clear()
    encode.fn(run, ingested(run, tmp_path, pictures[:20] + pictures[:3]), ENCODER, "cpu")
    assert sum(SEEN) == 20
    SEEN.clear()
    relabelled = ["b"] * 20 + ["a", "c"] * 5
    encode.fn(run, ingested(run, tmp_path, pictures, relabelled), ENCODER, "cpu")
    assert sum(SEEN) == 10
    SEEN.clear()
    encode.fn(run, ingested(run, tmp_path, pictures[5:][::-1]), ENCODER, "cpu")
    assert SEEN == []


def test_an_encoding_that_was_killed_goes_on_where_it_was(run, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "_PART", 8)
    monkeypatch.setattr(encoding, "_BATCH", 8)
    samples, parts = ingested(run, tmp_path, colours(40)), []

    add = FeatureStore.add

    def killed(store, contents, vectors):
        if len(parts) == 2:
            raise KeyboardInterrupt
        parts.append(contents)
        add(store, contents, vectors)

    monkeypatch.setattr(FeatureStore, "add", killed)
    with pytest.raises(KeyboardInterrupt):
        encode.fn(run, samples, ENCODER, "cpu")
    monkeypatch.setattr(FeatureStore, "add", add)
    SEEN.clear()
    encode.fn(run, samples, ENCODER, "cpu")
    assert sum(SEEN) == 40 - sum(map(len, parts))


def test_a_split_of_the_vectors_depends_on_that_split_alone(run, tmp_path):
    pictures = colours(40)
    features = encode.fn(run, ingested(run, tmp_path, pictures), ENCODER, "cpu")
    test_rows = load(run, features, "test").ids.tolist()
    thin = [
        pq.read_table(run.path(features, file), columns=["sample_id", "row"])
        for file in features.files
        if file.name.startswith("samples/")
    ]
    row_of = {row["sample_id"]: row["row"] for table in thin for row in table.to_pylist()}
    labels = ["abc"[index % 3] for index in range(40)]
    index = row_of[test_rows[0]]
    labels[index] = "abc"[(index + 1) % 3]
    again = encode.fn(run, ingested(run, tmp_path, pictures, labels), ENCODER, "cpu")
    changed = {
        split for split in ("train", "test") if split_of(again, split).digest != split_of(features, split).digest
    }
    assert len(changed) == 1


def test_what_is_no_picture_is_refused(run):
    digits = ingest.fn(run, Digits(limit=60), Ingestion())
    words = digits.with_facts(payload=digits.facts["payload"] | {"shape": [64]})
    with pytest.raises(BadModel, match="expected pictures, got inputs of kind array and shape 64"):
        encode.fn(run, words, ENCODER, "cpu")


def test_vectors_that_are_not_finite_are_refused(run, tmp_path, monkeypatch):
    def embedder(_self, _device):
        import torch

        return lambda cells: torch.full((len(cells), 4), torch.nan)

    monkeypatch.setattr(Counted, "embedder", embedder)
    with pytest.raises(BadModel, match="one vector of finite numbers a sample, got NaN or infinity"):
        encode.fn(run, ingested(run, tmp_path, colours(20)), ENCODER, "cpu")
