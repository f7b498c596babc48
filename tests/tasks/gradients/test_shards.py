"""Shards are read without a copy, in the order of their ids, and refused when they are not what they say."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.errors import BadArtefact, BadConfig
from tasks.gradients.residuals import residuals_of
from tasks.gradients.shards import GradientShards, ShardMetadata, ShardWriter, _sort_order
from tasks.kernels.losses import Loss
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import GRADIENTS, gradient_shard

ABOUT = ShardMetadata(
    gradient={"kind": "head"}, loss=("cross_entropy", 0.0), checkpoints=("a",), epochs=(1,), layers=(), joined="sum"
)


def table_of(ids, k=3, h1=5, seed=0, metadata=ABOUT):
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
    schema = metadata.on(gradient_shard({"residual": k, "features": h1}))
    return pa.table([columns[name] for name in schema.names], schema=schema)


def stored(run, table, name="00000", **others):
    """An artefact of one shard; ``others``: folder → what stands there beside it."""
    with run.draft("gradients") as draft:
        for folder, part in ({"gradients": table} | others).items():
            with ShardWriter(draft, name, folder) as writer:
                for batch in part.to_batches():
                    writer.write(batch)
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
        found |= {ids[r]: (a[0], b[0]) for r, a, b in zip(rank, residual, features, strict=True)}
    return found


def test_what_is_written_is_read_by_sorted_id(run):
    table = table_of(IDS)
    shards = GradientShards(run, [stored(run, table.slice(0, 25), "00000"), stored(run, table.slice(25), "00001")])
    order = np.argsort(np.array(IDS))
    assert len(shards) == 40
    assert shards.widths == {"residual": 3, "features": 5}
    assert (shards.dimensions, shards.terms, shards.factored) == (15, 1, True)
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


def test_several_record_batches_in_a_shard_are_all_read(run, monkeypatch):
    monkeypatch.setattr("tasks.gradients.shard_writer._BATCH_BYTES", 1)
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
    twin = np.einsum("nk,nh->nkh", factors.residual[:, 0], factors.features[:, 0]).reshape(5000, 4)
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
        with ShardWriter(draft, "00000") as writer:
            for batch in table.to_batches():
                writer.write(batch)
        arrow = draft.path("gradients/00000.arrow", table.num_rows)
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
    with pytest.raises(BadArtefact, match=rf"'residual': 3, 'features': 5.*'residual': {k}, 'features': {h1}"):
        GradientShards(run, [first, other])


def test_a_sample_takes_four_bytes_for_each_value_of_both_factors(run):
    k, h1, n = 10, 65, 2000
    artefact = stored(run, table_of([f"{i:032d}" for i in range(n)], k, h1))
    size = next(file.size for file in artefact.files if file.name.endswith(".arrow"))
    # Besides the factors: the id's 32 characters and its offset, and the other scalars.
    assert 0 <= size / n - (k + h1) * 4 < 100


@pytest.mark.parametrize(
    "other",
    [
        {"checkpoints": ("b",)},
        {"gradient": {"kind": "head", "precision": "bf16"}},
        {"loss": ("cross_entropy", 0.1)},
        {"epochs": (2,)},
        {"joined": "stack"},
    ],
)
def test_a_shard_of_another_model_or_projection_is_refused_and_says_in_what(run, other):
    first = stored(run, table_of(IDS[:20]), "00000")
    second = stored(run, table_of(IDS[20:], metadata=ABOUT.model_copy(update=other)), "00001")
    with pytest.raises(BadArtefact, match=f"{next(iter(other))} .*another model or projection") as refused:
        GradientShards(run, [first, second])
    assert "00001.arrow" in str(refused.value)


def test_a_shard_that_does_not_say_what_it_is_is_refused(run):
    table = table_of(IDS).replace_schema_metadata(None)
    with pytest.raises(BadArtefact, match="its model and projection"):
        GradientShards(run, [stored(run, table)])


def test_a_file_ends_where_it_is_large_enough_and_all_of_them_are_read(run, monkeypatch):
    monkeypatch.setattr("tasks.gradients.shard_writer._BATCH_BYTES", 1)
    monkeypatch.setattr("tasks.gradients.shard_writer._FILE_BYTES", 1)
    table = table_of(IDS)
    chunked = pa.concat_tables([table.slice(0, 13), table.slice(13, 20), table.slice(33)])
    artefact = stored(run, chunked)
    rows = {file.name: file.rows for file in artefact.files if file.name.endswith(".arrow")}
    assert rows == {"gradients/00000.arrow": 13, "gradients/00000.001.arrow": 20, "gradients/00000.002.arrow": 7}
    shards = GradientShards(run, [artefact])
    assert shards.ids().to_pylist() == sorted(IDS)
    monkeypatch.undo()
    np.testing.assert_array_equal(shards.dense(1 << 20), GradientShards(run, [stored(run, table, "1")]).dense(1 << 20))


def test_batches_are_joined_before_they_are_written(run):
    table = table_of(IDS)
    chunked = pa.concat_tables([table.slice(i, 1) for i in range(40)])
    assert len(list(GradientShards(run, [stored(run, chunked)]).factors())) == 1


@pytest.mark.parametrize("store", ["float32", "float16"])
def test_stored_gradients_come_back_in_blocks_and_dense_but_have_no_factors(run, store):
    values = np.random.default_rng(0).normal(size=(40, 7)).astype(store)
    metadata = ABOUT.model_copy(update={"gradient": {"kind": "layers"}, "layers": ("a", "b")})
    scalars = table_of(IDS).select(GRADIENTS.names)
    norms = pa.FixedSizeListArray.from_arrays(pa.array(np.ones(80, np.float32)), 2)
    vectors = pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), 7)
    schema = metadata.on(gradient_shard({"gradient": 7}, 2, store))
    artefact = stored(run, pa.table([*scalars.columns, norms, vectors], schema=schema))
    shards = GradientShards(run, [artefact])
    order = np.argsort(np.array(IDS))
    np.testing.assert_array_equal(shards.dense(1 << 20), values[order].astype(np.float32))
    for rank, rows in shards.blocks():
        assert rows.dtype == np.float32
        np.testing.assert_array_equal(rows, values[order].astype(np.float32)[rank])
    with pytest.raises(BadConfig, match="the kind layers, which has none"):
        next(shards.factors())


@pytest.mark.parametrize("joined", ["sum", "stack"])
def test_several_terms_are_one_gradient(run, joined):
    metadata = ABOUT.model_copy(update={"epochs": (1, 2), "joined": joined})
    table = table_of(IDS, 6, 10, metadata=metadata)
    shards = GradientShards(run, [stored(run, table)])
    expected = []
    for row in sorted(table.to_pylist(), key=lambda row: row["sample_id"]):
        residual, features = np.float32(row["residual"]).reshape(2, 3), np.float32(row["features"]).reshape(2, 5)
        terms = [np.outer(r, h).ravel() for r, h in zip(residual, features, strict=True)]
        expected.append(np.sum(terms, 0) if joined == "sum" else np.concatenate(terms))
    assert shards.dimensions == len(expected[0])
    np.testing.assert_allclose(shards.dense(1 << 20), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("ranks", [[], [3], [39, 0, 0, 17, 5, 39], list(range(40))])
def test_chosen_samples_are_read_in_the_order_they_are_asked_for(run, monkeypatch, ranks):
    monkeypatch.setattr("tasks.gradients.shard_writer._BATCH_BYTES", 1)
    table = table_of(IDS)
    pieces = [[table.slice(0, 5), table.slice(5, 9)], [table.slice(14)]]
    shards = GradientShards(run, [stored(run, pa.concat_tables(some), f"{i:05d}") for i, some in enumerate(pieces)])
    found = shards.rows(np.array(ranks, np.int64), "residual", "features")
    rows = sorted(table.to_pylist(), key=lambda row: row["sample_id"])
    for name, values in found.items():
        expected = np.array([rows[rank][name] for rank in ranks], np.float32).reshape(-1, shards.widths[name])
        np.testing.assert_array_equal(values, expected)


# ---- other folders, and samples in the place of others -----------------------------------------------------------


def by_id(table, name):
    return {row["sample_id"]: row[name] for row in table.to_pylist()}


@pytest.fixture(params=["batches", "whole"])
def batches(request, monkeypatch):
    """As few rows in a record batch as were written at a time, or all of them."""
    if request.param == "batches":
        monkeypatch.setattr("tasks.gradients.shard_writer._BATCH_BYTES", 1)


def chunked(table, *cuts):
    return pa.concat_tables([table.slice(a, b - a) for a, b in zip((0, *cuts), (*cuts, len(table)), strict=True)])


def replaced(run, which, seed=1):
    """(shards with the samples ``which`` under other gradients, the table they amount to by id)."""
    table = table_of(IDS)
    other = table_of([IDS[i] for i in which], seed=seed)
    own = {"canaries": other.slice(0, len(which) // 2)}, {"canaries": other.slice(len(which) // 2)}
    cut = 25
    artefacts = [
        stored(run, chunked(part, 4, 9), f"{i:05d}", **{name: t for name, t in beside.items() if len(t)})
        for i, (part, beside) in enumerate(zip((table.slice(0, cut), table.slice(cut)), own, strict=True))
    ]
    rows = {row["sample_id"]: row for row in table.to_pylist()}
    rows |= {row["sample_id"]: row for row in other.to_pylist()}
    return GradientShards(run, artefacts, instead="canaries"), [rows[name] for name in sorted(IDS)]


@pytest.mark.parametrize("which", [[], [0], [39], [1, 30], list(range(4, 9)), list(range(0, 40, 3)), list(range(40))])
def test_samples_of_another_folder_take_the_places_of_their_own(run, batches, which):
    shards, expected = replaced(run, which)
    assert len(shards) == 40
    assert shards.ids().to_pylist() == sorted(IDS)
    for name in ("loss", "l1", "l2", "p_label"):
        np.testing.assert_array_equal(shards.scalar(name), np.array([row[name] for row in expected], np.float32))
    for name in ("residual", "features"):
        np.testing.assert_array_equal(shards.matrix(name), np.array([row[name] for row in expected], np.float32))
    dense = np.array([np.outer(np.float32(r["residual"]), np.float32(r["features"])).ravel() for r in expected])
    np.testing.assert_array_equal(shards.dense(1 << 20), dense)
    ranks = np.concatenate([factors.rank for factors in shards.factors()])
    assert sorted(ranks) == list(range(40))
    found = np.full_like(dense, np.nan)
    for rank, rows in shards.blocks():
        found[rank] = rows
    np.testing.assert_array_equal(found, dense)
    wanted = np.array([39, 0, 17, 17, 5])
    some = shards.rows(wanted, "residual")["residual"]
    np.testing.assert_array_equal(some, np.array([expected[i]["residual"] for i in wanted], np.float32))


def test_without_being_asked_for_another_folder_is_not_read(run):
    table, other = table_of(IDS), table_of(IDS[:5], seed=1)
    artefact = stored(run, table, canaries=other, reference=table_of(["x", "x"], seed=2))
    shards = GradientShards(run, [artefact])
    assert len(shards) == 40
    assert dict(zip(shards.ids().to_pylist(), shards.scalar("loss"), strict=True)) == by_id(table, "loss")
    alone = GradientShards(run, [artefact], "canaries")
    assert dict(zip(alone.ids().to_pylist(), alone.scalar("loss"), strict=True)) == by_id(other, "loss")


def test_nothing_in_its_place_leaves_a_sample_as_it_is(run):
    shards = [GradientShards(run, [stored(run, table_of(IDS))], instead=instead) for instead in (None, "canaries")]
    np.testing.assert_array_equal(shards[0].dense(1 << 20), shards[1].dense(1 << 20))
    assert shards[0].ids().equals(shards[1].ids())


def test_a_sample_that_stands_there_several_times_is_read_so_and_in_the_files_order(run):
    """As a reference does, once for each fold."""
    ids = [name for name in ("b", "a", "c") for _ in range(3)]
    table = table_of(ids).set_column(1, "fold", pa.array([0, 1, 2] * 3, pa.int16()))
    table = table.cast(ABOUT.on(gradient_shard({"residual": 3, "features": 5}))).replace_schema_metadata(
        table_of(ids).schema.metadata
    )
    shards = GradientShards(run, [stored(run, table_of(IDS), reference=table)], "reference")
    assert shards.ids().to_pylist() == sorted(ids)
    assert shards.scalar("fold").tolist() == [0, 1, 2] * 3
    order = np.argsort(ids, kind="stable")
    np.testing.assert_array_equal(shards.matrix("residual"), np.array(table["residual"].to_pylist(), np.float32)[order])


def test_another_model_in_another_folder_is_refused(run):
    other = table_of(IDS[:3], metadata=ABOUT.model_copy(update={"epochs": (9,)}))
    artefact = stored(run, table_of(IDS), canaries=other)
    assert len(GradientShards(run, [artefact])) == 40
    with pytest.raises(BadArtefact, match=r"canaries.*another model or projection"):
        GradientShards(run, [artefact], instead="canaries")


def test_outputs_are_read_whole_and_are_no_part_of_the_gradient(run):
    logits = np.random.default_rng(3).normal(size=(40, 3)).astype(np.float32)
    table = table_of(IDS)
    schema = ABOUT.on(gradient_shard({"residual": 3, "features": 5, "logits": 3}))
    column = pa.FixedSizeListArray.from_arrays(pa.array(logits.ravel()), 3)
    shards = GradientShards(run, [stored(run, pa.table([*table.columns, column], schema=schema))])
    np.testing.assert_array_equal(shards.matrix("logits"), logits[np.argsort(IDS)])
    assert shards.dimensions == 15
    np.testing.assert_array_equal(shards.dense(1 << 20), GradientShards(run, [stored(run, table, "1")]).dense(1 << 20))


# ---- order of ids ------------------------------------------------------------------------------------------------


@given(st.lists(st.text("ab\0é\U0001f600", max_size=11), min_size=1, max_size=40, unique=True), st.integers(0, 3))
def test_ids_are_sorted_as_python_sorts_strings_however_they_begin(ids, dropped):
    array = pa.array(["zz"] * dropped + ids, pa.string()).slice(dropped)
    assert [ids[place] for place in _sort_order(array)] == sorted(ids)


# ---- residuals that are made while they are read ---------------------------------------------------------------------


def made_of(ids, loss, target, c=1, joined="sum", store="float32", k=3, h1=5, seed=0):
    """A shard's table that holds outputs and targets in the place of residuals."""
    metadata = ABOUT.model_copy(update={"loss": loss, "epochs": tuple(range(1, c + 1)), "joined": joined})
    table, generator = table_of(ids, k, c * h1, seed), np.random.default_rng(seed)
    logits = generator.normal(scale=4, size=(len(ids), c, k)).astype(np.float32)
    vectors = {"features": np.array(table["features"].to_pylist(), store)}
    vectors |= {"earlier_logits": logits[:, :-1].reshape(len(ids), -1)} if c > 1 else {}
    vectors |= {"logits": logits[:, -1], "target": target}
    schema = gradient_shard({n: v.shape[1] for n, v in vectors.items()}, 0, store, target.dtype.name)
    columns = [pa.FixedSizeListArray.from_arrays(pa.array(v.ravel()), v.shape[1]) for v in vectors.values()]
    scalars = table.select(GRADIENTS.names).columns
    return pa.table([*scalars, *columns], schema=metadata.on(schema)), logits


def residual_of(loss, z, target):
    """∂ℓ/∂z in float64, by autograd."""
    z = torch.from_numpy(z).double().requires_grad_()
    labels = torch.from_numpy(target)
    labels = labels[:, 0].long() if target.dtype == np.int32 else labels.double()
    Loss(*loss).losses(z, labels).sum().backward()
    assert z.grad is not None
    return z.grad.numpy()


LOSSES = {
    "classes": (("cross_entropy", 0.0), np.arange(40, dtype=np.int32)[:, None] % 3),
    "smoothed classes": (("cross_entropy", 0.1), np.arange(40, dtype=np.int32)[:, None] % 3),
    "classes, squared error": (("squared_error", 0.1), np.arange(40, dtype=np.int32)[:, None] % 3),
    "numbers": (("squared_error", 0.0), np.linspace(-2, 2, 120, dtype=np.float32).reshape(40, 3)),
    "sets": (("binary_cross_entropy", 0.1), (np.arange(120).reshape(40, 3) % 5 < 2).astype(np.uint8)),
}


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize(("c", "joined"), [(1, "sum"), (2, "sum"), (3, "stack")])
def test_residuals_are_made_from_outputs_and_targets_as_autograd_has_them(run, batches, kind, c, joined):
    loss, target = LOSSES[kind]
    table, logits = made_of(IDS, loss, target, c, joined)
    shards = GradientShards(run, [stored(run, chunked(table, 7, 20))])
    assert (shards.widths["residual"], shards.terms, shards.factored) == (3 * c, c, True)
    scale = c if joined == "sum" else np.sqrt(c)
    expected = np.stack([residual_of(loss, logits[:, i], target) / scale for i in range(c)], 1)[np.argsort(IDS)]
    found = shards.matrix("residual")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected.reshape(40, -1), rtol=1e-5, atol=1e-6)
    # Samples that are read apart have the same bits.
    some = np.array([39, 0, 17, 17, 5])
    np.testing.assert_array_equal(shards.rows(some, "residual", "features")["residual"], found[some])
    np.testing.assert_array_equal(shards.matrix("logits"), logits[np.argsort(IDS), -1])
    (parts,) = (dict(zip(f.rank, f.residual, strict=True)) for f in [next(shards.factors())])
    for rank, residual in parts.items():
        np.testing.assert_array_equal(residual.ravel(), found[rank])


def test_a_sample_in_anothers_place_has_the_residual_of_its_own_target(run):
    loss, target = LOSSES["classes"]
    table, _ = made_of(IDS, loss, target)
    planted, _ = made_of(IDS[:4], loss, (target[:4] + 1) % 3)
    artefact = stored(run, table, canaries=planted)
    given, seen = GradientShards(run, [artefact]), GradientShards(run, [artefact], instead="canaries")
    differs = (given.matrix("residual") != seen.matrix("residual")).any(1)
    assert {sorted(IDS)[rank] for rank in np.flatnonzero(differs)} == set(IDS[:4])


def test_shards_that_hold_residuals_are_read_but_never_beside_such_that_make_them(run):
    loss, target = LOSSES["classes"]
    old, new = table_of(IDS[:20]), made_of(IDS[20:], loss, target[20:])[0]
    assert GradientShards(run, [stored(run, old, "0")]).widths == {"residual": 3, "features": 5}
    with pytest.raises(BadArtefact, match=r"'residual': 3.*'target': 1"):
        GradientShards(run, [stored(run, old, "1"), stored(run, new, "2")])


def test_a_thousand_classes_take_four_bytes_each(run):
    n = 300
    ids = [f"{i:032d}" for i in range(n)]
    target = np.zeros((n, 1), np.int32)
    artefact = stored(run, made_of(ids, ("cross_entropy", 0.0), target, k=1000, h1=33)[0])
    size = next(file.size for file in artefact.files if file.name.endswith(".arrow"))
    assert size / n < 4300


def test_of_many_classes_residuals_are_made_in_pieces_of_the_same_bits(monkeypatch):
    sizes, whole = [], Loss.residuals

    def counted(self, logits, labels):
        sizes.append(logits.numel())
        return whole(self, logits, labels)

    generator = np.random.default_rng(0)
    logits = generator.normal(size=(400, 2 * 4000)).astype(np.float32)
    target = generator.integers(0, 4000, (400, 1), np.int32)
    columns = {"earlier_logits": logits[:, :4000], "logits": logits[:, 4000:], "target": target}
    about = ABOUT.model_copy(update={"loss": ("cross_entropy", 0.1), "epochs": (1, 2), "joined": "sum"})
    monkeypatch.setattr(Loss, "residuals", counted)
    made = residuals_of(columns, about)
    assert max(sizes) <= 1 << 20
    z, y = torch.from_numpy(logits).unflatten(1, (2, 4000)), torch.from_numpy(target)[:, 0].long()
    expected = torch.cat([whole(Loss("cross_entropy", 0.1), z[:, i].contiguous(), y) * 0.5 for i in range(2)], 1)
    np.testing.assert_array_equal(made, expected.numpy())
