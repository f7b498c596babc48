"""The toys are the paper's in number and in shape, and drawn anew from their seed alone."""

from __future__ import annotations

import pyarrow as pa
import pytest
from pydantic import ValidationError

from tasks.dataset.samples import load
from tasks.ingestion.readers import CHUNK_ROWS, READERS, Noise

TOYS = ["half_moons", "blobs"]


@pytest.mark.parametrize(("kind", "n", "flips"), [("half_moons", 250, 20), ("blobs", 150, 10)])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_toys_come_in_the_papers_numbers(kind, n, flips, seed, read):
    ingested = read(READERS.parts[kind](seed=seed))
    assert ingested.artefact.facts["splits"] == {"train": n, "validation": 0, "test": 100}
    assert ingested.artefact.facts["planted"] == flips
    rows = ingested.samples.to_pylist()
    wrong = [row for row in rows if row["label"] != row["clean_label"]]
    assert len(wrong) == flips
    assert {row["split"] for row in wrong} == {"train"}
    for split, count in (("train", n), ("test", 100)):
        clean = [row["clean_label"] for row in rows if row["split"] == split]
        assert sorted(clean) == ["0"] * (count // 2) + ["1"] * (count // 2)
    assert ingested.samples.schema.field("x0").type == pa.float32()
    assert tuple(ingested.artefact.facts["payload"]["columns"]) == ("x0", "x1")


@pytest.mark.parametrize(("kind", "right"), [("half_moons", 0.97), ("blobs", 0.92)])
def test_the_toys_are_as_separable_as_they_say(kind, right, read):
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    ingested = read(READERS.parts[kind](noise=Noise(), train=1000, test=1000))
    train, test = (load(ingested.run, ingested.artefact, split) for split in ("train", "test"))

    def score(model) -> float:
        return model.fit(train.x.numpy(), train.labels.numpy()).score(test.x.numpy(), test.labels.numpy())

    line = score(LogisticRegression())
    assert score(KNeighborsClassifier(20)) > right
    assert line > right if kind == "blobs" else 0.8 < line < 0.92


@pytest.mark.parametrize("kind", TOYS)
def test_the_toys_test_points_are_no_training_points_and_stay(kind, read):
    def points(split: str, **options: int) -> dict[str, str]:
        rows = read(READERS.parts[kind](noise=Noise(), **options)).samples.to_pylist()
        return {row["sample_id"]: row["label"] for row in rows if row["split"] == split}

    assert points("test") == points("test", train=40)
    assert points("train") == points("train", test=0)
    assert points("train", test=0)
    assert not points("test").keys() & points("train").keys()
    assert not points("train").keys() & points("train", seed=1).keys()


@pytest.mark.parametrize("kind", TOYS)
def test_a_toy_of_many_points_comes_in_small_chunks(kind):
    _, chunks = READERS.parts[kind](train=2 * CHUNK_ROWS + 1, test=7).open()
    found = [(chunk.split, len(chunk.rows), chunk.rows[0].as_py()) for chunk in chunks]
    rest = [("train", CHUNK_ROWS * i, CHUNK_ROWS) for i in range(2)]
    assert found == [*((split, size, at) for split, at, size in rest), ("train", 1, 2 * CHUNK_ROWS), ("test", 7, 0)]


@pytest.mark.parametrize("kind", TOYS)
@pytest.mark.parametrize("bad", [{"train": 3}, {"test": -1}, {"spread": 0}, {"spread": float("inf")}, {"seed": -1}])
def test_a_toy_that_cannot_be_is_refused(kind, bad):
    with pytest.raises(ValidationError):
        READERS.parts[kind](**bad)


@pytest.mark.parametrize(
    ("kind", "share"), [("blobs", 10 / 150), ("half_moons", 20 / 250), ("digits", 0.1), ("csv", 0)]
)
def test_noise_of_ones_own_keeps_what_nobody_said_otherwise(kind, share):
    options = {"path": "a.csv"} if kind == "csv" else {}
    reader = READERS.parts[kind].model_validate(options | {"noise": {"seed": 3}})
    assert (reader.noise.seed, reader.noise.share) == (3, share)
    assert READERS.parts[kind].model_validate(options | {"noise": {"share": 0.3}}).noise.share == 0.3
