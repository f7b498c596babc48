"""What a plan says of a shard's samples is looked up in what was read once, and is what reading it again would say."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.core.errors import BadArtefact
from tasks.gradients import planned_samples as module
from tasks.gradients.planned_samples import planned_samples
from tasks.pipeline.artefacts import Run
from tasks.pipeline.schemas import FOLDS, canaries
from tasks.planning.plan import Plan

N = 400


@pytest.fixture(params=["of one length", "of many lengths", "of many lengths and few", "beyond its memory"])
def world(request, tmp_path):
    """(a run, a plan of N samples of which a tenth are canaries, their ids, folds and planted labels)."""
    generator = np.random.default_rng(0)
    ids = np.array([f"{i:08x}" if "one" in request.param else "x" * (i % 7) + f"{i}" for i in range(N)], object)
    ids = generator.permutation(ids)
    fold = generator.integers(0, 3, N).astype(np.int16)
    planted = {ids[i]: f"label {i}" for i in range(3, N, 10)}
    run = Run.start(tmp_path, "plan", memory_gib=1e-6 if "memory" in request.param else 4.0)
    with run.draft("folds") as draft:
        table = pa.table([pa.array(ids, pa.string()), pa.array(fold), pa.array(np.zeros(N, bool))], schema=FOLDS)
        pq.write_table(table, draft.path("folds.parquet", N), row_group_size=90)
        folds = draft.commit(folds=3, samples=N)
    with run.draft("canaries") as draft:
        names = sorted(planted)
        networks = pa.FixedSizeListArray.from_arrays(pa.array([False] * 3 * len(names)), 3)
        columns = [pa.array(names, pa.string()), pa.array([planted[n] for n in names]), pa.array(["slip"] * len(names))]
        pq.write_table(pa.table([*columns, networks], schema=canaries(3)), draft.path("canaries.parquet", len(names)))
        plan = Plan(folds=folds, canaries=draft.commit())
    module._read.cache_clear()
    return run, plan, ids, fold, planted


@pytest.mark.parametrize("some", [slice(0, 50), slice(50, 51), slice(60, None, 7), slice(None, None, -1)])
def test_fold_and_planted_label_are_those_of_the_plan(world, some):
    run, plan, ids, fold, planted = world
    of_shard = planned_samples(run, plan, ids[some])
    np.testing.assert_array_equal(of_shard.fold, fold[some])
    assert of_shard.fold.dtype == np.int16
    found = dict(zip(ids[some][of_shard.rows], of_shard.planted.to_pylist(), strict=True))
    assert found == {name: planted[name] for name in ids[some] if name in planted}


def test_the_plan_is_read_once_for_all_shards_unless_memory_forbids(world):
    run, plan, ids, *_ = world
    for first in range(0, N, 40):
        planned_samples(run, plan, ids[first : first + 40])
    assert module._read.cache_info().misses == (2 if run.memory > 1 << 20 else 0)


def test_a_sample_without_a_fold_is_told(world):
    run, plan, ids, *_ = world
    with pytest.raises(BadArtefact, match="none for 0000ffff"):
        planned_samples(run, plan, np.append(ids[:3], "0000ffff"))


def test_a_plan_without_canaries_plants_none(world):
    run, plan, ids, fold, _ = world
    of_shard = planned_samples(run, plan.model_copy(update={"canaries": None}), ids[:9])
    np.testing.assert_array_equal(of_shard.fold, fold[:9])
    assert len(of_shard.rows) == len(of_shard.planted) == 0
