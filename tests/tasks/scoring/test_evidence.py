"""The planted twin is the same run with the canaries under their planted labels, and nothing else about it differs."""

import csv

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from by_hand import cross_fitted
from sklearn.datasets import load_digits

from tasks.core.errors import BadConfig
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load
from tasks.decision.ranking import ranking_of
from tasks.gradients.kinds.head import Head
from tasks.gradients.kinds.layers import Layers
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.csv import Csv
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run
from tasks.planning.canaries import Canaries
from tasks.scoring.detectors.l2 import L2
from tasks.scoring.detectors.margin import Margin
from tasks.scoring.evidence import Evidence
from tasks.training.fit import build
from tasks.training.models.mlp import Mlp
from tasks.training.recipe import Recipe, Training

MODEL, TRAINING = Mlp(hidden=[6]), Training(epochs=2, batch_size=32, device="cpu")


class World:
    """What a run has made before it scores: 160 training digits, 30 for validation, 20 for the test."""

    def __init__(self, home, folds=3, share=0.1, gradient=None, validation=30):
        digits, path = load_digits(), home / "digits.csv"
        with path.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow([*(f"p{i}" for i in range(64)), "digit", "part"])
            for i in range(210):
                part = "train" if i < 160 else "validation" if i < 160 + validation else "test"
                writer.writerow([*digits.data[i].astype(int), f"d{digits.target[i]}", part])
        run = self.run = Run.start(home / "lake", "evidence")
        reader = Csv(path=path, label="digit", split="part")
        self.samples = ingest.fn(run, reader, Ingestion(shard_rows=64))
        recipe = Recipe(model=MODEL, training=TRAINING)
        planning = {"folds": folds, "canaries": Canaries(share=share)}
        self.gradient = gradient or Head()
        self.crossfit = cross_fitted(run, self.samples, recipe, self.gradient, **planning)

    def evidence(self, **options):
        return Evidence(self.run, self.crossfit, **options)

    def network(self, fold):
        network = build(MODEL, payload_of(self.samples), len(self.samples.facts["classes"]))
        (path,) = self.run.paths(self.crossfit.checkpoints[fold], ".pt")
        network.load_state_dict(torch.load(path, weights_only=True))
        return network.eval()

    def inputs(self, split="train"):
        return load(self.run, self.samples, split)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    return World(tmp_path_factory.mktemp("three"))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two folds, whole gradients, no validation split."""
    return World(tmp_path_factory.mktemp("two"), 2, gradient=Layers(projection="none"), validation=0)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """No canaries."""
    return World(tmp_path_factory.mktemp("plain"), 2, share=0.0)


@pytest.fixture(params=["world", "two"])
def either(request):
    return request.getfixturevalue(request.param)


def test_everything_is_by_sorted_id(either):
    evidence, inputs = either.evidence(), either.inputs()
    ids = evidence.ids.to_pylist()
    assert ids == sorted(inputs.ids.tolist())
    assert len(evidence) == 160
    given = dict(zip(inputs.ids, inputs.labels.tolist(), strict=True))
    assert evidence.labels.tolist() == [given[name] for name in ids]
    folds = pq.read_table(either.run.path(either.crossfit.plan.folds)).to_pydict()
    fold_of = dict(zip(folds["sample_id"], folds["fold"], strict=True))
    assert evidence.folds.tolist() == [fold_of[name] for name in ids]
    votes = {row["sample_id"]: row for row in pq.read_table(either.run.path(either.crossfit.votes)).to_pylist()}
    assert evidence.votes.tolist() == [votes[name]["votes"] for name in ids]
    assert evidence.neighbours.tolist() == [votes[name]["neighbours"] for name in ids]


def test_outputs_are_those_of_the_network_that_never_saw_the_sample(either):
    evidence, inputs = either.evidence(), either.inputs()
    place = {name: i for i, name in enumerate(inputs.ids)}
    x = inputs.x[[place[name] for name in evidence.ids.to_pylist()]]
    networks = [either.network(fold) for fold in range(len(either.crossfit.checkpoints))]
    with torch.no_grad():
        expected = torch.stack([networks[f](x[i : i + 1])[0] for i, f in enumerate(evidence.folds)])
    np.testing.assert_allclose(evidence.logits, expected.numpy(), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(evidence.probabilities, expected.softmax(1).numpy(), rtol=1e-3, atol=1e-5)
    assert evidence.logits.dtype == evidence.probabilities.dtype == np.float32


def test_a_twin_is_one_step_away_and_back(either):
    given = either.evidence()
    planted = given.twin
    assert (given.is_planted, planted.is_planted) == (False, True)
    assert planted.twin is given
    assert given.with_planted_labels is planted.with_planted_labels is planted
    assert planted.with_given_labels is given.with_given_labels is given
    started = either.evidence(planted=True)
    assert started.with_planted_labels is started
    assert started.labels.tolist() == planted.labels.tolist()


def test_only_the_canaries_labels_differ_and_they_are_the_planted_ones(either):
    given, planted = either.evidence(), either.evidence().twin
    assert len(given.canaries) > 10
    ids = given.ids.to_pylist()
    assert [ids[place] for place in given.canary_ranks] == given.canaries.ids.tolist()
    assert planted.labels[planted.canary_ranks].tolist() == given.canaries.labels.tolist()
    differing = np.flatnonzero(given.labels != planted.labels)
    assert differing.tolist() == sorted(given.canary_ranks.tolist())
    assert planted.ids.equals(given.ids)
    assert len(planted) == len(given)
    for name in ("folds", "votes", "neighbours"):
        np.testing.assert_array_equal(getattr(planted, name), getattr(given, name))
    np.testing.assert_allclose(planted.logits, given.logits, rtol=1e-3, atol=1e-4)


def test_only_the_canaries_gradients_differ_and_they_are_those_of_the_planted_label(either):
    given, planted, inputs = either.evidence(), either.evidence().twin, either.inputs()
    own, other = (side.gradients.dense(1 << 24) for side in (given, planted))
    rest = np.setdiff1d(np.arange(160), given.canary_ranks)
    np.testing.assert_array_equal(own[rest], other[rest])
    place = {name: i for i, name in enumerate(inputs.ids)}
    for rank, name, label in zip(given.canary_ranks, given.canaries.ids, given.canaries.labels, strict=True):
        network = either.network(int(given.folds[rank]))
        at = place[name]
        loss = torch.nn.functional.cross_entropy(network(inputs.x[at : at + 1]), torch.tensor([label]))
        if either.gradient.kind == "head":
            head = network[1][-1]
            weight, bias = torch.autograd.grad(loss, [head.weight, head.bias])
            expected = torch.cat([weight, bias[:, None]], 1).flatten()
        else:
            expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, list(network.parameters()))])
        np.testing.assert_allclose(other[rank], expected.numpy(), rtol=1e-3, atol=1e-5)
        assert planted.gradients.scalar("l2")[rank] == pytest.approx(float(expected.norm()), rel=1e-3)
        assert planted.gradients.scalar("loss")[rank] == pytest.approx(loss.item(), rel=1e-3)
    ranks = np.concatenate([rank for rank, _ in planted.gradients.blocks()])
    assert sorted(ranks) == list(range(160))


@pytest.mark.parametrize("name", ["aum", "mean_loss", "el2n", "sei"])
@pytest.mark.parametrize("is_planted", [False, True])
def test_dynamics_are_the_mean_over_the_networks_that_learned_the_label_it_bears_here(world, name, is_planted):
    evidence = world.evidence(planted=is_planted)
    canaries, found = set(evidence.canaries.ids), {}
    for checkpoint in world.crossfit.checkpoints:
        (path,) = world.run.paths(checkpoint, ".parquet", "dynamics")
        for row in pq.read_table(path).to_pylist():
            if row["planted"] == (is_planted and row["sample_id"] in canaries):
                found.setdefault(row["sample_id"], []).append(row[name])
    expected = [np.mean(found[name]) for name in evidence.ids.to_pylist()]
    told = evidence.dynamics(name)
    assert told.dtype == np.float64
    assert np.isfinite(told).all()
    np.testing.assert_allclose(told, expected, rtol=1e-12)
    # Of three networks two saw it; a canary one of them under each label.
    assert {len(found[name]) for name in canaries} == {1}
    assert {len(values) for who, values in found.items() if who not in canaries} == {2}


def test_a_planted_label_is_harder_to_learn(world):
    given = world.evidence()
    own, planted = (side.dynamics("mean_loss")[given.canary_ranks] for side in (given, given.twin))
    assert planted.mean() > own.mean()


def test_with_two_folds_no_network_has_learned_a_planted_label(two):
    given = two.evidence()
    assert np.isfinite(given.dynamics("aum")).all()
    missing = np.isnan(given.twin.dynamics("aum"))
    assert np.flatnonzero(missing).tolist() == sorted(given.canary_ranks.tolist())


def test_samples_that_no_network_was_trained_on_have_no_dynamics(world):
    """As the new ones of a run with a base."""
    (path,) = world.run.paths(world.crossfit.checkpoints[0], ".parquet", "dynamics")
    seen, fewer = pq.read_table(path), []
    gone = seen["sample_id"][:5].to_pylist()
    for checkpoint in world.crossfit.checkpoints:
        table = pq.read_table(world.run.paths(checkpoint, ".parquet", "dynamics")[0])
        kept = table.filter(pa.array([name not in gone for name in table["sample_id"].to_pylist()]))
        with world.run.draft("checkpoints") as draft:
            pq.write_table(kept, draft.path("dynamics/fold-0.parquet", kept.num_rows))
            fewer.append(draft.commit(**checkpoint.facts))
    evidence = Evidence(world.run, world.crossfit.model_copy(update={"checkpoints": fewer}))
    missing = np.isnan(evidence.dynamics("el2n"))
    assert {evidence.ids[int(i)].as_py() for i in np.flatnonzero(missing)} == set(gone)


def test_a_figure_that_the_networks_of_an_older_version_did_not_note_is_known_of_no_sample(world):
    older = []
    for checkpoint in world.crossfit.checkpoints:
        table = pq.read_table(world.run.paths(checkpoint, ".parquet", "dynamics")[0]).drop_columns(["sei"])
        with world.run.draft("checkpoints") as draft:
            pq.write_table(table, draft.path("dynamics/fold-0.parquet", table.num_rows))
            older.append(draft.commit(**checkpoint.facts))
    evidence = Evidence(world.run, world.crossfit.model_copy(update={"checkpoints": older}))
    assert np.isnan(evidence.dynamics("sei")).all()
    assert np.isfinite(evidence.dynamics("aum")).all()


def test_every_sample_of_the_validation_split_is_there_once_for_each_fold(world):
    reference, inputs = world.evidence().reference, world.inputs("validation")
    assert reference is not None
    assert len(inputs.ids) == 30
    pairs = list(zip(reference.ids().to_pylist(), reference.scalar("fold").tolist(), strict=True))
    assert pairs == [(name, fold) for name in sorted(inputs.ids) for fold in range(3)]
    dense, place = reference.dense(1 << 24), {name: i for i, name in enumerate(inputs.ids)}
    networks = [world.network(fold) for fold in range(3)]
    for row, (name, fold) in zip(dense, pairs, strict=True):
        at, head = place[name], networks[fold][1][-1]
        loss = torch.nn.functional.cross_entropy(networks[fold](inputs.x[at : at + 1]), inputs.labels[at : at + 1])
        weight, bias = torch.autograd.grad(loss, [head.weight, head.bias])
        np.testing.assert_allclose(row, torch.cat([weight, bias[:, None]], 1).flatten().numpy(), rtol=1e-3, atol=1e-5)
    assert not set(inputs.ids) & set(world.evidence().ids.to_pylist())
    assert world.evidence().twin.reference.ids().equals(reference.ids())


def test_without_a_validation_split_there_is_no_reference(two):
    assert two.evidence().reference is None


def test_a_score_is_given_once_and_each_twin_has_its_own(world):
    evidence = world.evidence()
    assert evidence.score(L2()) is evidence.score(L2())
    assert evidence.score(Margin()) is not evidence.score(L2())
    suspect = evidence.twin.score(Margin())[evidence.canary_ranks] - evidence.score(Margin())[evidence.canary_ranks]
    assert suspect.mean() > 0


def test_a_run_without_canaries_has_a_twin_that_is_its_equal_and_says_what_it_lacks(plain):
    given = plain.evidence()
    assert len(given.canaries) == len(given.canary_ranks) == 0
    assert given.twin.labels.tolist() == given.labels.tolist()
    np.testing.assert_array_equal(given.twin.gradients.dense(1 << 24), given.gradients.dense(1 << 24))
    np.testing.assert_array_equal(given.twin.dynamics("aum"), given.dynamics("aum"))
    assert ranking_of(given, np.zeros(160)).wrongness is None
    with pytest.raises(BadConfig, match="detector x: expected canaries to learn from, got none among 160 samples"):
        given.need_canaries("detector x")


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_a_standing_is_of_the_given_labels(world):
    given = world.evidence()
    suspicion = np.arange(160.0)
    standing = ranking_of(given, suspicion)
    assert standing.suspicion is suspicion
    np.testing.assert_array_equal(standing.labels, given.labels)
    np.testing.assert_array_equal(standing.predicted, given.logits.argmax(1))
    assert standing.wrongness is not None
    again = ranking_of(world.evidence(), suspicion).wrongness
    np.testing.assert_array_equal(standing.wrongness.probability, again.probability)
    world.evidence().need_canaries("nobody")


def test_of_many_classes_matrices_are_made_in_pieces_and_lie_in_a_file_with_the_same_values(world, monkeypatch):
    whole = world.evidence()
    names = ("probabilities", "votes", "neighbours", "logits")
    expected = {name: getattr(whole, name) for name in names} | {"outputs": whole.outputs.numpy()}
    assert not any(isinstance(values, np.memmap) for values in expected.values())
    monkeypatch.setattr("tasks.scoring.evidence._SHARE", 0)
    monkeypatch.setattr("tasks.scoring.evidence._AT_A_TIME", 100)
    monkeypatch.setattr("tasks.kernels.pieces._AT_A_TIME", 70)
    evidence = world.evidence()
    found = {name: getattr(evidence, name) for name in names} | {"outputs": evidence.outputs.numpy()}
    assert isinstance(found["probabilities"], np.memmap)
    assert isinstance(found["votes"], np.memmap)
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values)
    assert not list((world.run.lake / "cache").glob("tmp*"))
