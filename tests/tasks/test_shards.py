"""Shards are read without a copy, in the order of their ids, and refused when they are not what they say."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.artefacts import Run
from tasks.errors import BadArtefact
from tasks.schemas import GRADIENTS, gradient_shard
from tasks.shards import GradientShards, write_shard


def table_of(ids, k=3, h1=5, seed=0):
    """A shard's table with random factors."""
    generator = np.random.default_rng(seed)
    n = len(ids)
    residual = generator.normal(size=(n, k)).astype(np.float32)
    features = generator.normal(size=(n, h1)).astype(np.float32)
    columns = {
        "sample_id": pa.array(ids, pa.string()),
        "fold": pa.array(np.zeros(n, np.int16)),
        "predicted": pa.array(["a"] * n, pa.string()),
        "l1": pa.array(np.abs(residual).sum(1) * np.abs(features).sum(1)),
        "l2": pa.array(np.linalg.norm(residual, axis=1) * np.linalg.norm(features, axis=1)),
        "residual": pa.FixedSizeListArray.from_arrays(residual.ravel(), k),
        "features": pa.FixedSizeListArray.from_arrays(features.ravel(), h1),
    } | {name: pa.array(generator.random(n).astype(np.float32)) for name in ("loss", "p_label", "p_predicted")}
    schema = gradient_shard(k, h1)
    return pa.table([columns[name] for name in schema.names], schema=schema)


def stored(run, table, name="00000"):
    with run.draft("gradients") as draft:
        arrow = draft.path(f"gradients/{name}.arrow", table.num_rows)
        write_shard(table, arrow, draft.path(f"gradients/{name}.parquet", table.num_rows))
        return draft.commit()


@pytest.fixture
def run(tmp_path):
    return Run.start(tmp_path, "shards")


IDS = [f"{i * 7919 % 101:03d}" for i in range(40)]


def factors_by_id(shards):
    """sample_id → (residual, features), through the ranks the shards give."""
    ids = shards.ids().to_pylist()
    found = {}
    for rank, residual, features in shards.factors():
        found |= {ids[r]: (a, b) for r, a, b in zip(rank, residual, features, strict=True)}
    return found


def test_what_is_written_is_read_by_sorted_id(run):
    table = table_of(IDS)
    shards = GradientShards(run, [stored(run, table.slice(0, 25), "00000"), stored(run, table.slice(25), "00001")])
    order = np.argsort(np.array(IDS))
    assert len(shards) == 40
    assert (shards.classes, shards.width) == (3, 5)
    assert shards.ids().to_pylist() == sorted(IDS)
    for name in GRADIENTS.names[1:]:
        np.testing.assert_array_equal(shards.scalar(name), table[name].to_numpy()[order])
    found = factors_by_id(shards)
    for row in table.to_pylist():
        residual, features = found[row["sample_id"]]
        np.testing.assert_array_equal(residual, np.array(row["residual"], np.float32))
        np.testing.assert_array_equal(features, np.array(row["features"], np.float32))


def test_the_parquet_file_beside_it_holds_the_scalars(run):
    table = table_of(IDS)
    artefact = stored(run, table)
    (path,) = run.paths(artefact, ".parquet")
    assert pq.read_table(path).cast(GRADIENTS).equals(table.select(GRADIENTS.names).cast(GRADIENTS))


def test_factors_are_views_into_the_mapped_file(run):
    shards = GradientShards(run, [stored(run, table_of(IDS))])
    before = pa.total_allocated_bytes()
    (factors,) = shards.factors()
    (again,) = shards.factors()
    for view, twin in ((factors.residual, again.residual), (factors.features, again.features)):
        assert view.dtype == np.float32
        assert not view.flags.owndata
        assert not view.flags.writeable
        assert np.shares_memory(view, twin)
    assert pa.total_allocated_bytes() == before


def test_a_table_sliced_before_it_is_written_keeps_its_own_rows(run):
    table = table_of(IDS)
    shards = GradientShards(run, [stored(run, table.slice(7, 11))])
    expected = {row["sample_id"]: row["residual"] for row in table.slice(7, 11).to_pylist()}
    found = factors_by_id(shards)
    assert found.keys() == expected.keys()
    for name, residual in expected.items():
        np.testing.assert_array_equal(found[name][0], np.array(residual, np.float32))


def test_several_record_batches_in_a_shard_are_all_read(run):
    table = table_of(IDS)
    chunked = pa.concat_tables([table.slice(0, 13), table.slice(13, 20), table.slice(33)])
    shards = GradientShards(run, [stored(run, chunked)])
    assert len(list(shards.factors())) == 3
    whole = GradientShards(run, [stored(run, table, "00001")])
    np.testing.assert_array_equal(shards.dense(1 << 20), whole.dense(1 << 20))


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_dense_is_the_outer_products_by_sorted_id_whatever_the_order_of_shards(run, order):
    table = table_of(IDS)
    pieces = [table.slice(0, 10), table.slice(10, 1), table.slice(11)]
    shards = GradientShards(run, [stored(run, pieces[i], f"{i:05d}") for i in order])
    rows = sorted(table.to_pylist(), key=lambda row: row["sample_id"])
    expected = [np.outer(np.float32(row["residual"]), np.float32(row["features"])).ravel() for row in rows]
    dense = shards.dense(1 << 20)
    assert dense.dtype == np.float32
    np.testing.assert_array_equal(dense, np.array(expected))


def test_dense_is_right_beyond_one_block_of_rows(run):
    ids = [f"{i:05d}" for i in range(5000)]
    table = table_of(ids, k=2, h1=2)
    shards = GradientShards(run, [stored(run, table)])
    (factors,) = shards.factors()
    twin = np.einsum("nk,nh->nkh", factors.residual, factors.features).reshape(5000, 4)
    np.testing.assert_allclose(shards.dense(1 << 20), twin, rtol=1e-6)


def test_a_matrix_over_the_limit_is_refused_with_its_size(run):
    shards = GradientShards(run, [stored(run, table_of(IDS))])
    assert shards.dense_bytes == 40 * 15 * 4
    assert shards.dense(40 * 15 * 4).nbytes == 40 * 15 * 4
    with pytest.raises(BadArtefact, match="40 × 15 float32"):
        shards.dense(40 * 15 * 4 - 1)


@pytest.mark.parametrize("kept", [0, 7, 500, -1])
def test_a_file_that_is_no_whole_arrow_file_is_refused(run, kept):
    table = table_of(IDS)
    with run.draft("gradients") as draft:
        arrow = draft.path("gradients/00000.arrow", table.num_rows)
        write_shard(table, arrow, draft.path("gradients/00000.parquet", table.num_rows))
        arrow.write_bytes(arrow.read_bytes()[:kept])
        artefact = draft.commit()
    with pytest.raises(BadArtefact, match="whole Arrow IPC file"):
        GradientShards(run, [artefact])


def test_a_file_cut_after_it_was_made_final_is_refused(run):
    artefact = stored(run, table_of(IDS))
    (path,) = run.paths(artefact, ".arrow")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(BadArtefact, match="bytes"):
        GradientShards(run, [artefact])


@pytest.mark.parametrize(("k", "h1"), [(4, 5), (3, 6)])
def test_a_shard_of_another_width_is_refused(run, k, h1):
    first = stored(run, table_of(IDS[:20]), "00000")
    other = stored(run, table_of(IDS[20:], k, h1), "00001")
    with pytest.raises(BadArtefact, match=rf"\(3, 5\).*\({k}, {h1}\)"):
        GradientShards(run, [first, other])


def test_a_sample_takes_four_bytes_for_each_value_of_both_factors(run):
    k, h1, n = 10, 65, 2000
    artefact = stored(run, table_of([f"{i:032d}" for i in range(n)], k, h1))
    size = next(file.size for file in artefact.files if file.name.endswith(".arrow"))
    # Besides the factors: the id's 32 characters and its offset, and the other scalars.
    assert 0 <= size / n - (k + h1) * 4 < 100
