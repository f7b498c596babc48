"""The toys are the paper's in number and in shape, and drawn anew from their repetition alone."""

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from tasks.evaluation.experiments import experiment
from tasks.evaluation.experiments.generated import generate
from tasks.evaluation.experiments.toys import blobs, half_moons
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers import ReaderChoice
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run

TOYS = {"half_moons": lambda repetition, **n: half_moons(0.15, repetition, **n), "blobs": blobs}


def points(table, split):
    rows = table.filter(pc.equal(table["split"], split)).select(["x0", "x1", "label"]).to_pylist()
    return [tuple(row.values()) for row in rows]


@pytest.mark.parametrize(
    ("name", "toy", "n", "flips"), [("half-moons", "half-moons", 250, 20), ("toy-linear", "blobs", 150, 10)]
)
def test_an_experiment_reads_its_toy_in_the_papers_numbers(name, toy, n, flips, tmp_path):
    scale = experiment(name).scale("small")
    assert scale.made == toy
    generate(toy, tmp_path, tmp_path, 2)
    run, digests = Run.start(tmp_path / "lake", "toys"), set()
    for repetition in (1, 2):
        given = scale.parameters_of(scale.variants[0], repetition, {"made": tmp_path, "bench": tmp_path})
        samples = ingest.fn(run, ReaderChoice.model_validate(given["reader"]).component, Ingestion())
        assert samples.facts["splits"] == {"train": n, "validation": 0, "test": 100}
        assert samples.facts["planted"] == flips
        assert tuple(samples.facts["payload"]["columns"]) == ("x0", "x1")
        assert samples.facts["classes"] == ["0", "1"]
        digests.add(samples.digest)
    assert len(digests) == 2


def test_a_repetition_is_the_same_each_time(tmp_path):
    generate("blobs", tmp_path, tmp_path, 1)
    assert pq.read_table(tmp_path / "blobs-1.parquet").equals(blobs(1))
    assert [path.name for path in tmp_path.iterdir()] == ["blobs-1.parquet"]


@pytest.mark.parametrize(("name", "right"), [("half_moons", 0.97), ("blobs", 0.92)])
def test_the_toys_are_as_separable_as_they_say(name, right):
    table = TOYS[name](0, train=1000)
    train, test = (table.filter(pc.equal(table["split"], split)).to_pandas() for split in ("train", "test"))

    def score(model):
        return model.fit(train[["x0", "x1"]], train.label).score(test[["x0", "x1"]], test.label)

    line = score(LogisticRegression())
    assert score(KNeighborsClassifier(20)) >= right - 0.03
    assert line > right if name == "blobs" else 0.8 < line < 0.95


@pytest.mark.parametrize("name", TOYS)
def test_the_test_points_are_no_training_points_and_stay(name):
    toy = TOYS[name]
    assert points(toy(0), "test") == points(toy(0, train=40), "test")
    assert not set(points(toy(0), "test")) & set(points(toy(0), "train"))
    assert not set(points(toy(0), "train")) & set(points(toy(1), "train"))
    labels = [label for *_, label in points(toy(0), "test")]
    assert sorted(labels) == [0] * 50 + [1] * 50
