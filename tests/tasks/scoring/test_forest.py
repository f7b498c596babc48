"""The lazy forest scores as PyOD does on the dense matrix, however gradients are stored, grouped and read."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from pyod.models.iforest import IForest

from tasks.gradients.shards import GradientShards, ShardMetadata, ShardWriter
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import gradient_shard
from tasks.scoring import forest
from tasks.scoring.detectors.iforest import IForest as Detector
from tasks.scoring.forest import forest_scores

N, K, H1 = 400, 4, 7
ABOUT = ShardMetadata(
    gradient={"kind": "head"}, loss=("cross_entropy", 0.0), checkpoints=("a",), epochs=(1,), layers=(), joined="sum"
)
OPTIONS = {"trees": 30, "max_samples": 64, "seed": 0, "on": "raw"}


def columns_of(generator, n, c=1):
    """Factors as a softmax and a ReLU leave them, terms side by side; one sample has no gradient at all."""
    residual = generator.dirichlet(np.full(K, 0.3), (n, c)).astype(np.float32)
    residual[..., 0] -= 1
    features = np.maximum(generator.normal(size=(n, c, H1)), 0).astype(np.float32)
    residual[n // 2] = 0
    return {"residual": residual.reshape(n, -1), "features": features.reshape(n, -1)}


def shards_of(lake, columns, joined="sum", c=1, cuts=(150, 151), store="float32"):
    """Shards of the columns, in an order of rows that is not that of their ids."""
    n = len(next(iter(columns.values())))
    order = np.random.default_rng(9).permutation(n)
    scalars = {"sample_id": pa.array([f"{i:05d}" for i in range(n)]), "predicted": pa.array(["a"] * n)}
    scalars |= {name: pa.array(np.ones(n, np.float32)) for name in ("loss", "p_label", "p_predicted", "l1", "l2")}
    scalars["fold"] = pa.array((np.arange(n) % 3).astype(np.int16))
    vectors = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])
        for name, values in columns.items()
    }
    about = ABOUT.model_copy(update={"joined": joined, "epochs": tuple(range(c))})
    schema = about.on(gradient_shard({name: values.shape[1] for name, values in columns.items()}, store=store))
    table = pa.table([(scalars | vectors)[name] for name in schema.names], schema=schema).take(pa.array(order))
    run = Run.start(lake, "forest")
    artefacts = []
    for i, (a, b) in enumerate(zip((0, *cuts), (*cuts, n), strict=True)):
        with run.draft("gradients") as draft:
            with ShardWriter(draft, f"{i:05d}") as writer:
                for at in range(a, b, 100):
                    writer.write(table.slice(at, min(100, b - at)).combine_chunks().to_batches()[0])
            artefacts.append(draft.commit())
    return GradientShards(run, artefacts)


def by_pyod(matrix, seed=0, trees=30, max_samples=64):
    samples = min(max_samples, len(matrix))
    return IForest(n_estimators=trees, max_samples=samples, random_state=seed).fit(matrix).decision_scores_


@pytest.mark.parametrize("seed", [0, 5, 123456])
@pytest.mark.parametrize(("c", "joined"), [(1, "sum"), (1, "stack"), (3, "sum"), (3, "stack")])
def test_scores_are_those_of_pyod_on_the_dense_matrix(tmp_path, seed, c, joined):
    gradients = shards_of(tmp_path, columns_of(np.random.default_rng(seed), N, c), joined, c)
    found = forest_scores(gradients, None, **OPTIONS | {"seed": seed})
    np.testing.assert_allclose(found, by_pyod(gradients.dense(1 << 30), seed), atol=1e-6)
    if c == 1:
        np.testing.assert_array_equal(found, by_pyod(gradients.dense(1 << 30), seed))


@pytest.mark.parametrize("store", ["float32", "float16"])
def test_whole_gradients_are_scored_as_pyod_does(tmp_path, store):
    values = np.random.default_rng(0).normal(size=(N, 33)).astype(store)
    gradients = shards_of(tmp_path, {"gradient": values}, store=store)
    found = forest_scores(gradients, None, **OPTIONS)
    np.testing.assert_array_equal(found, by_pyod(gradients.dense(1 << 30)))


@pytest.mark.parametrize("n", [2, 3, 40, 63])
def test_fewer_samples_than_a_tree_takes_are_all_taken(tmp_path, n):
    gradients = shards_of(tmp_path, columns_of(np.random.default_rng(n), n), cuts=(1,))
    found = forest_scores(gradients, None, **OPTIONS)
    np.testing.assert_array_equal(found, by_pyod(gradients.dense(1 << 30)))


@pytest.mark.parametrize(("c", "joined"), [(1, "sum"), (2, "sum"), (2, "stack")])
def test_normalised_gradients_are_divided_by_the_norm_of_what_is_stored(tmp_path, c, joined):
    gradients = shards_of(tmp_path, columns_of(np.random.default_rng(1), N, c), joined, c)
    matrix = gradients.dense(1 << 30).astype(np.float64)
    length = np.linalg.norm(matrix, axis=1, keepdims=True)
    assert (length == 0).any()
    expected = by_pyod((matrix / np.where(length > 0, length, 1)).astype(np.float32))
    found = forest_scores(gradients, None, **OPTIONS | {"on": "normalised"})
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_normalised_whole_gradients_do_not_know_their_length(tmp_path):
    generator = np.random.default_rng(2)
    values = generator.normal(size=(N, 9)).astype(np.float32)
    scale = (2.0 ** generator.integers(-20, 20, (N, 1))).astype(np.float32)
    one, other = (
        forest_scores(shards_of(tmp_path / name, {"gradient": x}), None, **OPTIONS | {"on": "normalised"})
        for name, x in (("one", values), ("other", values * scale))
    )
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("kind", ["factors", "whole"])
def test_each_group_has_the_forest_it_would_have_alone(tmp_path, kind):
    generator = np.random.default_rng(3)
    columns = columns_of(generator, N) if kind == "factors" else {"gradient": generator.normal(size=(N, 9)).astype("f")}
    gradients = shards_of(tmp_path, columns)
    groups = np.array([7, -1, 2])[generator.choice(3, N, p=[0.6, 0.3, 0.1])]
    groups[11] = 99  # a group of one
    found = forest_scores(gradients, groups, **OPTIONS)
    matrix = gradients.dense(1 << 30)
    plain = np.full(N, 0.5)
    for group in (7, -1, 2):
        model = IForest(n_estimators=30, max_samples=min(64, (groups == group).sum()), random_state=0)
        plain[groups == group] = -model.fit(matrix[groups == group]).detector_.score_samples(matrix[groups == group])
    np.testing.assert_allclose(found - found[11] + 0.5, plain, atol=1e-12)
    # One score to count from, for all of them.
    np.testing.assert_allclose(np.percentile(found, 90), 0, atol=1e-12)


def test_no_more_is_held_than_some_rows_and_it_changes_nothing(tmp_path, monkeypatch):
    gradients = shards_of(tmp_path, columns_of(np.random.default_rng(4), N))
    groups = np.arange(N) % 5
    before = [forest_scores(gradients, some, **OPTIONS) for some in (None, groups)]
    monkeypatch.setattr(forest, "_GATHERED_BYTES", 1)
    for some, expected in zip((None, groups), before, strict=True):
        np.testing.assert_array_equal(forest_scores(gradients, some, **OPTIONS), expected)


def test_threads_change_nothing(tmp_path):
    gradients = shards_of(tmp_path, columns_of(np.random.default_rng(5), N))
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 3):
            torch.set_num_threads(threads)
            found.append(forest_scores(gradients, None, **OPTIONS))
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(*found)


def test_gradients_that_are_all_alike_are_average_all_of_them(tmp_path):
    gradients = shards_of(tmp_path, {"gradient": np.ones((N, 3), np.float32)})
    found = forest_scores(gradients, None, **OPTIONS)
    np.testing.assert_allclose(found, 0, atol=1e-12)
    np.testing.assert_array_equal(found, by_pyod(gradients.dense(1 << 30)))


def test_the_matrix_is_not_built(tmp_path, monkeypatch):
    gradients = shards_of(tmp_path, columns_of(np.random.default_rng(6), N))
    monkeypatch.delattr(GradientShards, "dense")
    monkeypatch.delattr(GradientShards, "blocks")
    assert np.isfinite(forest_scores(gradients, None, **OPTIONS)).all()


def test_the_detector_groups_by_class_or_fold_and_has_a_column_for_each_way_of_looking(tmp_path):
    gradients = shards_of(tmp_path, columns_of(np.random.default_rng(7), N))
    labels = np.random.default_rng(8).integers(0, 4, N)
    evidence = SimpleNamespace(
        gradients=gradients, labels=labels, folds=gradients.scalar("fold"), in_base=np.ones(len(labels), bool)
    )
    for by, on, name, groups in [
        ("all", "raw", "iforest", None),
        ("class", "raw", "iforest_by_class", labels),
        ("fold", "normalised", "iforest_normalised_by_fold", evidence.folds),
    ]:
        detector = Detector(trees=30, max_samples=64, by=by, on=on)
        assert detector.name == name
        expected = forest_scores(gradients, groups, **OPTIONS | {"on": on})
        np.testing.assert_array_equal(detector.score(evidence), expected)
