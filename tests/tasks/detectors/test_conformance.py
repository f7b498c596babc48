"""Every detector ranks a planted outlier first, whatever the order of rows and shards, and repeats by its seed."""

import numpy as np
import pyarrow as pa
import pytest

from tasks.artefacts import Run
from tasks.detectors import DETECTORS, DetectorChoice
from tasks.errors import BadArtefact
from tasks.schemas import gradient_shard
from tasks.shards import About, GradientShards, ShardWriter

N, K, H1, OUTLIER = 120, 3, 4, 37
ABOUT = About(
    gradient={"kind": "head"}, loss=("cross_entropy", 0.0), checkpoints=("a",), epochs=(1,), layers=(), joined="sum"
)

# name → options
CASES = {
    "l1": {"kind": "l1"},
    "l2": {"kind": "l2"},
    "iforest": {"kind": "iforest", "trees": 50, "max_samples": 64},
    "ecod": {"kind": "pyod", "detector": "ECOD"},
    "hbos": {"kind": "pyod", "detector": "HBOS"},
    "knn": {"kind": "pyod", "detector": "KNN", "parameters": {"n_neighbors": 7}},
    "pca": {"kind": "pyod", "detector": "PCA"},
}
# Those that build the dense matrix.
DENSE = [name for name in CASES if name not in ("l1", "l2", "iforest")]


def detector_of(name, **options):
    return DetectorChoice.model_validate(CASES[name] | options).part


def factors(seed=0):
    """Factors of N samples, one of them far out in every direction."""
    generator = np.random.default_rng(seed)
    residual = (generator.normal(size=(N, K)) * 0.1).astype(np.float32)
    features = generator.normal(1.0, 0.2, size=(N, H1)).astype(np.float32)
    residual[OUTLIER] = [-1.0, 0.7, 0.6]
    features[OUTLIER] *= 4
    return residual, features


def table_of(residual, features):
    n = len(residual)
    columns = {
        "sample_id": pa.array([f"{i:04d}" for i in range(n)]),
        "fold": pa.array(np.zeros(n, np.int16)),
        "predicted": pa.array(["a"] * n),
        "l1": pa.array(np.abs(residual).sum(1) * np.abs(features).sum(1)),
        "l2": pa.array(np.linalg.norm(residual, axis=1) * np.linalg.norm(features, axis=1)),
        "residual": pa.FixedSizeListArray.from_arrays(residual.ravel(), K),
        "features": pa.FixedSizeListArray.from_arrays(features.ravel(), H1),
    } | {name: pa.array(np.full(n, 0.5, np.float32)) for name in ("loss", "p_label", "p_predicted")}
    schema = ABOUT.on(gradient_shard({"residual": K, "features": H1}))
    return pa.table([columns[name] for name in schema.names], schema=schema)


def stored(lake, tables):
    """The tables as shards of one run."""
    run = Run.start(lake, "detectors")
    artefacts = []
    for i, table in enumerate(tables):
        with run.draft("gradients") as draft:
            with ShardWriter(draft, f"{i:05d}") as writer:
                for batch in table.to_batches():
                    writer.write(batch)
            artefacts.append(draft.commit())
    return GradientShards(run, artefacts)


@pytest.fixture(scope="module")
def gradients(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("one"), [table_of(*factors())])


@pytest.fixture(scope="module")
def shuffled(tmp_path_factory):
    """The same samples in another order, in three shards."""
    table = table_of(*factors()).take(pa.array(np.random.default_rng(5).permutation(N)))
    return stored(tmp_path_factory.mktemp("three"), [table.slice(70), table.slice(0, 1), table.slice(1, 69)])


def test_every_detector_has_a_case():
    assert {options["kind"] for options in CASES.values()} == set(DETECTORS.parts)


@pytest.mark.parametrize("name", CASES)
def test_a_planted_outlier_ranks_first_among_finite_scores(gradients, name):
    suspicion = detector_of(name).score(gradients)
    assert suspicion.shape == (N,)
    assert suspicion.dtype == np.float64
    assert np.isfinite(suspicion).all()
    assert int(suspicion.argmax()) == OUTLIER
    assert (suspicion == suspicion.max()).sum() == 1


@pytest.mark.parametrize("name", CASES)
def test_the_order_of_rows_and_shards_changes_nothing(gradients, shuffled, name):
    np.testing.assert_array_equal(detector_of(name).score(shuffled), detector_of(name).score(gradients))


@pytest.mark.parametrize("name", CASES)
def test_the_same_seed_repeats(gradients, name):
    options = {"seed": 3} if name in DENSE else {}
    first, again = (detector_of(name, **options).score(gradients) for _ in range(2))
    np.testing.assert_array_equal(first, again)


def test_another_seed_grows_another_forest(gradients):
    assert (detector_of("iforest", seed=0).score(gradients) != detector_of("iforest", seed=1).score(gradients)).any()


@pytest.mark.parametrize("name", DENSE)
def test_a_matrix_over_max_gib_is_refused_with_its_size(gradients, name):
    with pytest.raises(BadArtefact, match=f"{N} × {K * H1} float32"):
        detector_of(name, max_gib=1e-9).score(gradients)


@pytest.mark.parametrize("seed", [0, 11])
def test_the_forest_is_that_of_pyod_on_the_explicit_matrix(shuffled, seed):
    from pyod.models.iforest import IForest

    residual, features = factors()
    matrix = np.stack([np.outer(r, h).ravel() for r, h in zip(residual, features, strict=True)])
    forest = IForest(n_estimators=50, max_samples=64, random_state=seed).fit(matrix)
    np.testing.assert_array_equal(detector_of("iforest", seed=seed).score(shuffled), forest.decision_scores_)


def test_the_forest_takes_no_more_samples_than_there_are(gradients):
    assert np.isfinite(detector_of("iforest", max_samples=5000).score(gradients)).all()


def test_the_norms_are_those_of_the_dense_matrix(shuffled):
    dense = shuffled.dense(1 << 20).astype(np.float64)
    np.testing.assert_allclose(detector_of("l1").score(shuffled), np.abs(dense).sum(1), rtol=1e-5)
    np.testing.assert_allclose(detector_of("l2").score(shuffled), np.linalg.norm(dense, axis=1), rtol=1e-5)


def test_columns_are_named_after_kind_and_pyod_class():
    assert [detector_of(name).name for name in CASES] == [
        "l1",
        "l2",
        "iforest",
        "pyod_ecod",
        "pyod_hbos",
        "pyod_knn",
        "pyod_pca",
    ]


@pytest.mark.parametrize("name", CASES)
def test_gradients_stored_whole_score_as_their_factors_do(name, gradients, tmp_path):
    table = table_of(*factors())
    residual, features = factors()
    whole = np.einsum("nk,nh->nkh", residual, features).reshape(N, K * H1)
    schema = ABOUT.on(gradient_shard({"gradient": K * H1}))
    column = pa.FixedSizeListArray.from_arrays(pa.array(whole.ravel()), K * H1)
    stored_whole = stored(tmp_path, [pa.table([*table.columns[:-2], column], schema=schema)])
    score = detector_of(name).score
    np.testing.assert_allclose(score(stored_whole), score(gradients), rtol=1e-5)
