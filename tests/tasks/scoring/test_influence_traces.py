"""The samples that shaped the answers to queries are those that are like them, by gradients of the same network."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from by_hand import cross_fitted

from tasks.core.errors import BadArtefact, BadConfig
from tasks.dataset.payload import payload_of
from tasks.gradients.kinds.layers import Layers
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.parquet import Parquet
from tasks.ingestion.two_passes import Ingestion
from tasks.kernels.tracing import trace_scores
from tasks.pipeline.artefacts import Run
from tasks.planning.canaries import Canaries
from tasks.scoring import influence_traces
from tasks.scoring.evidence import Evidence
from tasks.scoring.influence_traces import Tracing
from tasks.scoring.trace import trace
from tasks.training.fit import build, load_networks
from tasks.training.models.mlp import Mlp
from tasks.training.recipe import Recipe, Training

KINDS = 8


def written(path, n, seed, groups):
    """Samples of eight kinds, of two classes: a kind is a place, and of one class."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % KINDS
    x = rng.normal(size=(n, 8)).astype(np.float32) * 0.3
    x[np.arange(n), kind] += 3
    y = kind % 2
    columns = {f"x{i}": x[:, i] for i in range(8)} | {"y": [f"c{one}" for one in y]}
    pq.write_table(pa.table(columns | ({"kind": [f"k{one}" for one in kind]} if groups else {})), path)
    return path


class World:
    """What a run has made before it traces."""

    def __init__(self, home, folds, *, groups=True, queries=True, projection="none", **trained):
        run = self.run = Run.start(home / "lake", "tracing")
        reader = Parquet(
            path=written(home / "a.parquet", 120, 0, groups),
            test_path=written(home / "b.parquet", 20, 1, groups),
            reference_path=written(home / "c.parquet", 24, 2, groups) if queries else None,
            label="y",
            group="kind" if groups else None,
        )
        model, training = Mlp(hidden=[16]), Training(epochs=10, batch_size=16, device="cpu", **trained)
        gradient = Layers(projection=projection, projection_dim=64)
        self.samples = ingest.fn(run, reader, Ingestion())
        recipe = Recipe(model=model, training=training)
        planning = {"folds": folds, "canaries": Canaries(share=0.0)}
        self.crossfit = cross_fitted(run, self.samples, recipe, gradient, **planning)

    def traced(self, **options):
        artefact = trace.fn(self.run, self.samples, self.crossfit, Tracing(**options))
        return pq.read_table(self.run.path(artefact)).to_pandas(), artefact.facts


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return World(tmp_path_factory.mktemp("whole"), 1)


def test_each_query_names_as_many_samples_as_asked_for_the_likeliest_first(whole):
    table, facts = whole.traced(top=7)
    assert facts["queries"] == table["query_id"].nunique() == 24
    for _, rows in table.groupby("query_id"):
        assert rows["rank"].tolist() == list(range(1, 8))
        assert rows["sample_id"].is_unique
        assert rows["influence"].is_monotonic_decreasing


def test_what_shaped_an_answer_is_of_the_querys_own_kind_though_nobody_told_the_kinds(whole):
    _, facts = whole.traced(top=1)
    assert facts["alike"]["roc_auc"] > 0.8
    assert facts["alike"]["recall"] > 0.6


def test_ranks_along_the_samples_neighbours_tell_the_kinds_better_than_pairs_do(whole):
    told = whole.traced(top=1)[1]["alike"]
    table, facts = whole.traced(top=15, neighbours=5)
    assert facts["alike"]["roc_auc"] > told["roc_auc"]
    assert facts["alike"]["recall"] > told["recall"]
    assert table["influence"].min() > 0
    again, _ = whole.traced(top=15, neighbours=5)
    assert table.equals(again)


def test_what_several_networks_say_along_neighbours_is_ranked_together(tmp_path):
    """A fold in which nothing is like the query must not put as many on top as one in which much is."""
    world = World(tmp_path, 3)
    evidence = Evidence(world.run, world.crossfit)
    table, _ = world.traced(top=120, neighbours=4, restart=0.2)
    reference, of_query = evidence.reference, evidence.reference.scalar("fold")
    names = np.array(reference.ids().to_pylist())
    q, g = (torch.from_numpy(shards.matrix("gradient")) for shards in (reference, evidence.gradients))
    found = table.pivot(index="query_id", columns="sample_id", values="influence")
    ids = np.array(evidence.ids.to_pylist())
    for fold in range(3):
        asked, members = of_query == fold, evidence.folds == fold
        alone = trace_scores(g[members], q[asked], damping=None, cosine=True, neighbours=4, restart=0.2)
        np.testing.assert_allclose(found.loc[names[asked], ids[members]].to_numpy(), alone, rtol=1e-4, atol=1e-7)


def test_gradients_may_be_those_of_the_weights_that_training_begins_with(tmp_path):
    """As of a pretrained network, before it has learned what a fine-tuning's samples have in common."""
    world = World(tmp_path, 1, checkpoint_epochs=[0])
    run, samples, checkpoints = world.run, world.samples, world.crossfit.checkpoints
    network = load_networks(run, checkpoints[0], Mlp(hidden=[16]), payload_of(samples), 2)[0]
    torch.manual_seed(0)
    blank = build(Mlp(hidden=[16]), payload_of(samples), 2)
    assert all(torch.equal(a, b) for a, b in zip(network[1].parameters(), blank[1].parameters(), strict=True))
    assert checkpoints[0].facts["epochs"] == [0]
    table, _ = world.traced(top=3)
    assert table["influence"].notna().all()


@pytest.mark.parametrize("curvature", ["none", "fisher"])
def test_influences_are_those_of_the_gradients_of_both(whole, curvature):
    evidence = Evidence(whole.run, whole.crossfit)
    table, _ = whole.traced(top=120, curvature=curvature, cosine=False, damping=0.5)
    g, q = (shards.matrix("gradient").astype(float) for shards in (evidence.gradients, evidence.reference))
    inverse = np.eye(g.shape[1])
    if curvature == "fisher":
        fisher = g.T @ g / len(g)
        inverse = np.linalg.inv(fisher + 0.5 * np.trace(fisher) / len(fisher) * np.eye(len(fisher)))
    wanted = q @ inverse @ g.T
    queries, samples = evidence.reference.ids().to_pylist(), evidence.ids.to_pylist()
    found = table.pivot(index="query_id", columns="sample_id", values="influence").loc[queries, samples].to_numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=1e-4 * np.abs(wanted).max())


def test_with_folds_query_and_sample_are_compared_by_the_network_that_saw_neither(tmp_path):
    world = World(tmp_path, 3, groups=False)
    evidence = Evidence(world.run, world.crossfit)
    table, facts = world.traced(top=120, curvature="none", cosine=False)
    assert facts["alike"] is None
    reference, fold_of = evidence.reference, evidence.reference.scalar("fold")
    rows = {(name, f): row for row, (name, f) in enumerate(zip(reference.ids().to_pylist(), fold_of, strict=True))}
    q, g = (torch.from_numpy(shards.matrix("gradient")) for shards in (reference, evidence.gradients))
    for one in table.sample(10, random_state=0).itertuples():
        rank = evidence.ids.to_pylist().index(one.sample_id)
        query = q[rows[one.query_id, evidence.folds[rank]]]
        assert one.influence == pytest.approx(float(query @ g[rank]), rel=1e-3, abs=1e-4)


def test_queries_are_needed(tmp_path):
    world = World(tmp_path, 1, groups=False, queries=False)
    with pytest.raises(BadConfig, match=r"queries.*got none\. Name queries with --reader.reference-path"):
        world.traced(top=3)


def test_gradients_too_long_for_a_matrix_are_refused_with_what_to_do(whole, monkeypatch):
    monkeypatch.setattr(influence_traces, "LONGEST", 10)
    with pytest.raises(BadArtefact, match="Take --curvature none"):
        whole.traced(top=3, curvature="fisher")
    with pytest.raises(BadArtefact, match="Raise --memory-gib"):
        whole.traced(top=3, memory_gib=1e-6)
