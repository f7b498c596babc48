"""A sample's gradient is taken from the network that never saw it, and training and extraction repeat to the byte.

Canaries are learnt under their planted labels by just the networks chosen for it, and have a second gradient, under the
planted label; their first is as if they were none.
"""

from pathlib import PurePath

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from by_hand import extracted, planned, trained

from tasks.core.errors import BadInput, BadModel
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load, split_of
from tasks.dataset.targets import target_of
from tasks.gradients.extraction import BatchSize, batch_rows, metadata_of
from tasks.gradients.kinds.functional import Functional
from tasks.gradients.kinds.head import Head
from tasks.gradients.kinds.layers import Layers
from tasks.gradients.shard_metadata import difference
from tasks.gradients.shards import GradientShards, ShardMetadata
from tasks.ingestion.ingest import ingest
from tasks.ingestion.readers.digits import Digits
from tasks.ingestion.two_passes import Ingestion
from tasks.pipeline.artefacts import Run
from tasks.pipeline.recorded_run import reference
from tasks.pipeline.schemas import DYNAMICS, GRADIENTS, gradient_shard
from tasks.planning.canaries import Canaries, indices_among
from tasks.planning.neighbours import Neighbours
from tasks.planning.plan import Plan
from tasks.planning.plant import plant
from tasks.planning.vote import vote
from tasks.training.fit import build, fit
from tasks.training.models.mlp import Mlp
from tasks.training.recipe import Recipe, Training
from tasks.training.train import train

MODEL = Mlp(hidden=[6], dropout=0.2)
TRAINING = Training(epochs=2, batch_size=32, device="cpu", seed=3)


class Chain:
    """ingest → plan → vote → plant → train → extract, on a lake of its own."""

    def __init__(self, lake, folds, training=TRAINING, canaries=Canaries()):  # noqa: B008  frozen
        self.run = Run.start(lake, "extract")
        self.samples = ingest.fn(self.run, Digits(limit=120), Ingestion(shard_rows=50))
        self.training, self.recipe = training, Recipe(model=MODEL, training=training)
        self.plan, _ = planned(self.run, self.samples, folds, canaries)
        self.checkpoints = trained(self.run, self.samples, self.plan, self.recipe)

    def train(self, fold, training=None):
        recipe = Recipe(model=MODEL, training=training or self.training)
        base = reference(self.run, None)
        return train.fn(self.run, split_of(self.samples, "train"), self.plan, [fold], recipe, base)[0]

    def extract(self, gradient=None):
        shards = extracted(self.run, self.samples, self.plan, self.checkpoints, self.recipe, gradient or Head())
        return [shard for shard in shards if shard.files]

    def fold_of(self):
        columns = pq.read_table(self.run.path(self.plan.folds), columns=["sample_id", "fold"]).to_pydict()
        return dict(zip(*columns.values(), strict=True))

    @property
    def planted(self):
        return self.plan.canary_labels(self.run, target_of(self.samples))

    def borne(self, fold):
        """Inputs with the labels that the fold's network was trained under, and which of them are planted."""
        inputs, planted = load(self.run, self.samples, "train"), self.planted
        rows, canary = indices_among(inputs.ids, planted.ids)
        chosen = planted.networks[canary, fold]
        inputs.labels[torch.from_numpy(rows[chosen])] = torch.from_numpy(planted.labels[canary[chosen]])
        return inputs, set(inputs.ids[rows[chosen]])

    def networks(self, fold):
        """By epoch."""
        found = []
        for path in self.run.paths(self.checkpoints[fold], ".pt"):
            network = build(MODEL, payload_of(self.samples), len(self.samples.facts["classes"]))
            network.load_state_dict(torch.load(path, weights_only=True))
            found.append(network.eval())
        return found

    def network(self, fold):
        (network,) = self.networks(fold)
        return network

    def rows(self, gradient=None, folder="gradients"):
        """sample_id → its stored row."""
        paths = [path for artefact in self.extract(gradient) for path in self.run.paths(artefact, ".arrow", folder)]
        return {row["sample_id"]: row for path in paths for row in pa.ipc.open_file(path).read_all().to_pylist()}

    def residuals(self, gradient=None, folder="gradients"):
        """sample_id → its residual, as it is made while shards are read."""
        shards = GradientShards(self.run, self.extract(gradient), folder)
        return dict(zip(shards.ids().to_pylist(), shards.matrix("residual"), strict=True))

    def expected(self, modules=lambda network: [network], labels=None):
        """sample_id → its whole gradient at each epoch, by backward passes of one sample (of these, if given)."""
        inputs, fold_of, found = load(self.run, self.samples, "train"), self.fold_of(), {}
        networks = [self.networks(fold) for fold in range(len(self.checkpoints))]
        for i, name in enumerate(inputs.ids):
            if labels is not None:
                if name not in labels:
                    continue
                inputs.labels[i] = int(labels[name])
            found[name] = []
            for network in networks[fold_of[name]]:
                network.zero_grad()
                self.training.objective(target_of(self.samples)).losses(
                    network(inputs.x[i : i + 1]), inputs.labels[i : i + 1]
                ).sum().backward()
                parameters = [p for module in modules(network) for p in module.parameters()]
                found[name].append(torch.cat([p.grad.flatten() for p in parameters]).numpy())
        return found


@pytest.fixture(scope="module", params=[1, 3])
def chain(request, tmp_path_factory):
    return Chain(tmp_path_factory.mktemp("chain"), request.param)


def test_every_gradient_is_that_of_the_network_its_fold_was_held_out_of(chain):
    classes = chain.samples.facts["classes"]
    inputs = load(chain.run, chain.samples, "train")
    fold_of = chain.fold_of()
    networks = [chain.network(fold) for fold in range(len(chain.checkpoints))]
    rows = {}
    for artefact in chain.extract():
        (path,) = chain.run.paths(artefact, ".arrow", "gradients")
        table = pa.ipc.open_file(path).read_all()
        assert table.schema.equals(gradient_shard({"features": 7, "logits": 10, "target": 1}))
        rows |= {row["sample_id"]: row for row in table.to_pylist()}
    assert rows.keys() == set(inputs.ids)
    residuals = chain.residuals()
    for i, name in enumerate(inputs.ids):
        row, network = rows[name], networks[fold_of[name]]
        assert row["fold"] == fold_of[name]
        network.zero_grad()
        logits = network(inputs.x[i : i + 1])
        loss = torch.nn.functional.cross_entropy(logits, inputs.labels[i : i + 1])
        loss.backward()
        head = network[1][-1]
        expected = torch.cat([head.weight.grad, head.bias.grad[:, None]], 1).numpy()
        gradient = np.outer(residuals[name], row["features"])
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(row["logits"], logits[0].detach().numpy(), rtol=1e-4, atol=1e-5)
        p = logits.softmax(1)[0]
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-6)
        assert row["p_label"] == pytest.approx(p[inputs.labels[i]].item(), rel=1e-4)
        assert row["p_predicted"] == pytest.approx(p.max().item(), rel=1e-4)
        assert row["predicted"] == classes[int(p.argmax())]
        assert row["l1"] == pytest.approx(np.abs(expected).sum(), rel=1e-4)
        assert row["l2"] == pytest.approx(np.linalg.norm(expected), rel=1e-4)


def test_a_checkpoint_is_trained_on_exactly_the_other_folds(chain):
    folds = len(chain.checkpoints)
    for held_out, checkpoint in enumerate(chain.checkpoints):
        inputs, _ = chain.borne(held_out)
        fold = np.array([chain.fold_of()[name] for name in inputs.ids])
        rows = np.arange(len(fold)) if folds == 1 else np.flatnonzero(fold != held_out)
        about = (chain.recipe, payload_of(chain.samples), target_of(chain.samples))
        twin = fit(*about, inputs, rows, seed=TRAINING.seed + held_out, label="twin")
        assert checkpoint.facts == {"fold": held_out, "trained_on": len(rows), "epochs": [2]}
        state = chain.network(held_out).state_dict()
        assert all(torch.equal(value, state[name]) for name, value in twin.state_dict().items())


def test_training_again_gives_the_same_bytes_in_another_lake_too(chain, tmp_path):
    assert chain.train(0).digest == chain.checkpoints[0].digest
    if len(chain.checkpoints) == 1:
        other = Chain(tmp_path, 1)
        assert other.checkpoints[0].files[0].sha256 == chain.checkpoints[0].files[0].sha256
        assert [a.digest for a in other.extract()] == [a.digest for a in chain.extract()]


def test_extracting_twice_gives_the_same_digest(chain):
    first, again = chain.extract(), chain.extract()
    assert [artefact.digest for artefact in first] == [artefact.digest for artefact in again]
    assert len({artefact.digest for artefact in first}) == len(first) > 1


def test_the_parquet_file_holds_the_same_scalars_as_the_arrow_file(chain):
    for artefact in chain.extract():
        for folder in {PurePath(file.name).parent.name for file in artefact.files}:
            (arrow,) = chain.run.paths(artefact, ".arrow", folder)
            (parquet,) = chain.run.paths(artefact, ".parquet", folder)
            scalars = pq.read_table(parquet, schema=GRADIENTS)
            assert scalars.num_rows > 0
            assert scalars.equals(pa.ipc.open_file(arrow).read_all().select(GRADIENTS.names).cast(GRADIENTS))


def test_an_early_epoch_is_another_network_than_the_last(chain):
    def trained(*epochs):
        training = TRAINING.model_copy(update={"checkpoint_epochs": list(epochs)})
        return chain.train(0, training)

    early, both = trained(1), trained(1, 2)
    assert early.files[0].sha256 != chain.checkpoints[0].files[0].sha256
    assert trained(2).digest == chain.checkpoints[0].digest
    assert [file.sha256 for file in both.files[:2]] == [early.files[0].sha256, chain.checkpoints[0].files[0].sha256]
    assert both.facts["epochs"] == [1, 2]


@pytest.fixture(scope="module")
def epochs(tmp_path_factory):
    """A chain with two checkpoints a fold, trained with another loss."""
    training = Training(
        epochs=2, batch_size=32, device="cpu", checkpoint_epochs=[1, 2], loss="squared_error", label_smoothing=0.1
    )
    return Chain(tmp_path_factory.mktemp("epochs"), 2, training)


@pytest.mark.parametrize("kind", [Layers(projection="none"), Functional(projection="none", chunk=7)])
@pytest.mark.parametrize("how", ["average", "stack"])
def test_whole_gradients_of_several_checkpoints_are_averaged_or_stacked(epochs, kind, how):
    rows = epochs.rows(kind.model_copy(update={"checkpoints": how}))
    for name, each in epochs.expected().items():
        expected = np.mean(each, 0) if how == "average" else np.concatenate(each) / np.sqrt(2)
        np.testing.assert_allclose(rows[name]["gradient"], expected, rtol=1e-3, atol=1e-5)
        assert rows[name]["l1"] == pytest.approx(np.abs(expected).sum(), rel=1e-3)
        if how == "stack":
            assert rows[name]["l2"] == pytest.approx(np.linalg.norm(expected), rel=1e-3)
            assert np.linalg.norm(rows[name]["layer_norms"]) == pytest.approx(np.linalg.norm(expected), rel=1e-3)


@pytest.mark.parametrize("how", ["average", "stack"])
def test_norms_of_normalized_gradients_are_those_of_the_gradients_at_all_checkpoints(epochs, how):
    rows = epochs.rows(Layers(normalize="matrices", projection_dim=64, checkpoints=how))
    for name, each in epochs.expected().items():
        expected = np.sqrt(np.mean([np.square(g).sum() for g in each]))
        assert rows[name]["l2"] == pytest.approx(expected, rel=1e-3)
        assert rows[name]["l1"] == pytest.approx(np.abs(rows[name]["gradient"]).sum(), rel=1e-3)


def test_shards_of_normalized_gradients_are_others_than_those_without_and_older_ones_are_these(epochs):
    loss, checkpoints = TRAINING.objective(target_of(epochs.samples)), epochs.checkpoints
    plain, unit = (metadata_of(Layers(normalize=how), loss, checkpoints, ["1.0"]) for how in ("none", "matrices"))
    assert "normalize" not in plain.gradient
    assert difference(plain, unit)[0].startswith("gradient")


@pytest.mark.parametrize("how", ["average", "stack"])
def test_head_gradients_of_several_checkpoints_stay_factored(epochs, how):
    rows, residuals = epochs.rows(Head(checkpoints=how)), epochs.residuals(Head(checkpoints=how))
    heads = epochs.expected(lambda network: [network[1][-1]])
    for name, each in heads.items():
        # Whole: weights row by row, then biases; factored: each row ends with its bias.
        matrices = [np.concatenate([g[:60].reshape(10, 6), g[60:, None]], 1) for g in each]
        residual = residuals[name].reshape(2, 10)
        features = np.array(rows[name]["features"]).reshape(2, 7)
        terms = residual[:, :, None] * features[:, None, :]
        expected = np.mean(matrices, 0) if how == "average" else np.array(matrices) / np.sqrt(2)
        np.testing.assert_allclose(terms.sum(0) if how == "average" else terms, expected, rtol=1e-3, atol=1e-5)
        assert rows[name]["l2"] == pytest.approx(np.linalg.norm(expected), rel=1e-3)
        assert rows[name]["l1"] == pytest.approx(np.abs(expected).sum(), rel=1e-3)


def test_projected_gradients_keep_their_exact_norms(chain):
    rows = chain.rows(Layers(projection_dim=64))
    for name, (gradient,) in chain.expected().items():
        assert len(rows[name]["gradient"]) == 64
        assert rows[name]["l2"] == pytest.approx(np.linalg.norm(gradient), rel=1e-3)


def test_chosen_layers_are_named_in_the_file_and_measured_one_by_one(chain):
    gradient = Layers(layers_like=["4"], projection="none")
    path = chain.run.paths(chain.extract(gradient)[0], ".arrow")[0]
    about = ShardMetadata.of(pa.ipc.open_file(path).read_all().schema)
    assert about.layers == ("4",)
    assert about.gradient["seed"] == 0
    assert about.checkpoints == tuple(checkpoint.digest for checkpoint in chain.checkpoints)
    rows = chain.rows(gradient)
    for name, (expected,) in chain.expected(lambda network: [network[1][-1]]).items():
        np.testing.assert_allclose(rows[name]["gradient"], expected, rtol=1e-3, atol=1e-5)
        assert rows[name]["layer_norms"] == [pytest.approx(np.linalg.norm(expected), rel=1e-3)]


def test_half_precision_shards_hold_the_same_to_half_precision_and_full_scalars(chain):
    full, half = chain.rows(Layers(projection_dim=64)), chain.rows(Layers(projection_dim=64, store="float16"))
    for name, row in full.items():
        np.testing.assert_array_equal(np.float16(row["gradient"]), np.float16(half[name]["gradient"]))
        assert row["l2"] == half[name]["l2"]


# ---- canaries -----------------------------------------------------------------------------------------------------


def dynamics_of(chain, fold):
    (path,) = chain.run.paths(chain.checkpoints[fold], ".parquet", "dynamics")
    table = pq.read_table(path)
    assert table.schema.equals(DYNAMICS)
    return table.to_pylist()


def test_every_network_leaves_what_it_saw_of_each_sample_and_says_under_which_label(chain):
    folds = len(chain.checkpoints)
    for fold in range(folds):
        rows = dynamics_of(chain, fold)
        _, planted = chain.borne(fold)
        trained_on = {name for name, own in chain.fold_of().items() if folds == 1 or own != fold}
        assert {row["sample_id"] for row in rows} == trained_on
        assert len(rows) == len(trained_on)
        assert {row["sample_id"] for row in rows if row["planted"]} == planted
        assert bool(planted) == (folds >= 3)
        assert {row["fold"] for row in rows} == {fold}
        assert all(np.isfinite([row["aum"], row["mean_loss"], row["el2n"], row["sei"]]).all() for row in rows)


def test_the_dynamics_of_a_canary_are_those_of_the_label_it_bore(chain):
    for fold in range(len(chain.checkpoints)):
        inputs, _ = chain.borne(fold)
        told, own = {}, np.array([chain.fold_of()[name] for name in inputs.ids])
        rows = np.arange(len(own)) if len(chain.checkpoints) == 1 else np.flatnonzero(own != fold)
        payload = payload_of(chain.samples)
        fit(
            chain.recipe,
            payload,
            target_of(chain.samples),
            inputs,
            rows,
            seed=TRAINING.seed + fold,
            label="twin",
            dynamics=told,
        )
        for row in dynamics_of(chain, fold):
            at = int(np.flatnonzero(inputs.ids == row["sample_id"])[0])
            assert {name: row[name] for name in told} == {name: float(values[at]) for name, values in told.items()}


@pytest.mark.parametrize("kind", [Head(), Layers(projection="none")], ids=lambda kind: kind.kind)
def test_a_canary_has_a_second_gradient_under_its_planted_label_by_the_network_that_never_saw_it(chain, kind):
    planted = chain.planted
    labels = dict(zip(planted.ids, planted.labels, strict=True))
    given, rows = chain.rows(kind), chain.rows(kind, "canaries")
    assert rows.keys() == labels.keys()
    assert len(rows) > 10
    inputs = load(chain.run, chain.samples, "train")
    own = dict(zip(inputs.ids, inputs.labels.tolist(), strict=True))
    modules = (lambda network: [network[1][-1]]) if kind.kind == "head" else (lambda network: [network])
    sides = (("canaries", rows, labels), ("gradients", given, {name: own[name] for name in labels}))
    for folder, side, of in sides:
        residuals = chain.residuals(folder=folder) if kind.kind == "head" else {}
        for name, (expected,) in chain.expected(modules, of).items():
            row = side[name]
            if kind.kind == "head":
                expected = np.concatenate([expected[:60].reshape(10, 6), expected[60:, None]], 1)
                found = np.outer(residuals[name], row["features"])
            else:
                found = row["gradient"]
            np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
            assert row["l2"] == pytest.approx(np.linalg.norm(expected), rel=1e-3)
    for name, row in rows.items():
        np.testing.assert_allclose(row["logits"], given[name]["logits"], rtol=1e-3, atol=1e-5)
        assert (row["fold"], row["predicted"]) == (given[name]["fold"], given[name]["predicted"])


def test_canaries_that_no_network_learns_change_no_checkpoint_and_no_gradient(tmp_path):
    with_them, without = (
        Chain(tmp_path / name, 2, canaries=Canaries(share=share)) for name, share in (("with", 0.2), ("without", 0.0))
    )
    assert [c.digest for c in with_them.checkpoints] == [c.digest for c in without.checkpoints]
    for one, other in zip(with_them.extract(), without.extract(), strict=True):
        own = [file for file in one.files if file.name.startswith("gradients/")]
        assert [file.sha256 for file in own] == [file.sha256 for file in other.files]
        assert not [file for file in other.files if file.name.startswith("canaries/")]


def test_planted_labels_teach_only_the_networks_chosen_for_them(tmp_path):
    with_them, without = (
        Chain(tmp_path / name, 3, canaries=Canaries(share=share)) for name, share in (("with", 0.2), ("without", 0.0))
    )
    assert with_them.planted.networks.any(0).all()
    for one, other in zip(with_them.checkpoints, without.checkpoints, strict=True):
        assert one.files[0].sha256 != other.files[0].sha256
    samples = [with_them.run.path(with_them.samples, file).read_bytes() for file in with_them.samples.files]
    assert samples == [without.run.path(without.samples, file).read_bytes() for file in without.samples.files]


# ---- how large a batch is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Head, Layers, Functional])
def test_the_batch_is_the_largest_power_of_two_that_fits_its_memory(chain, kind):
    network = chain.network(0)
    x = load(chain.run, chain.samples, "train").x
    sizes = [batch_rows(kind(), network, x, 8 << power) for power in (10, 16, 18, 19, 37)]
    assert sizes == sorted(sizes)
    assert sizes[0] == 1
    assert sizes[-1] == 4096
    assert all(size & (size - 1) == 0 for size in sizes)
    assert sizes[3] == 2 * sizes[2] > 2
    assert batch_rows(kind(batch_size=37), network, x, 1) == 37


def test_a_batch_is_halved_when_memory_runs_out_and_grows_back(chain, monkeypatch):
    whole = {artefact.digest for artefact in chain.extract(Head(batch_size=64))}
    seen, real = [], Head.taker

    def taker(self, *arguments):
        take = real(self, *arguments)

        def limited(x, labels):
            seen.append(len(x))
            if len(x) > 5 and len(seen) < 12:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return take(x, labels)

        return limited

    monkeypatch.setattr(Head, "taker", taker)
    tried = chain.rows(Head(batch_size=64))
    assert seen[:4] == [min(64, seen[0]), *[max(1, 64 >> i) if (64 >> i) < seen[0] else seen[0] for i in (1, 2, 3)]]
    assert max(seen[12:]) > 5
    monkeypatch.undo()
    assert len(whole) > 1
    expected = chain.rows(Head(batch_size=64))
    assert tried.keys() == expected.keys()
    for name, row in expected.items():
        np.testing.assert_allclose(tried[name]["logits"], row["logits"], rtol=1e-4, atol=1e-6)


def test_no_memory_for_one_sample_is_an_error_that_says_so(chain, monkeypatch):
    def taker(self, *arguments):
        def starved(x, labels):
            raise MemoryError("Unable to allocate 3 TiB")

        return starved

    monkeypatch.setattr(Head, "taker", taker)
    with pytest.raises(BadModel, match=r"memory for the gradient of one sample, got Unable to allocate 3 TiB"):
        chain.extract()


def test_other_errors_are_not_taken_for_a_lack_of_memory(chain, monkeypatch):
    def taker(self, *arguments):
        def broken(x, labels):
            raise RuntimeError("shapes cannot be multiplied")

        return broken

    monkeypatch.setattr(Head, "taker", taker)
    with pytest.raises(RuntimeError, match="shapes"):
        chain.extract()


def test_a_batch_that_ran_out_grows_back_only_after_a_while():
    size = BatchSize(64)
    size.ran_out(MemoryError())
    size.ran_out(MemoryError())
    seen = []
    for _ in range(24):
        seen.append(size.size)
        size.went_well()
    assert seen == [16] * 8 + [32] * 8 + [64] * 8


def test_a_gradient_that_is_not_finite_names_its_sample(chain, monkeypatch):
    real = Head.taker

    def taker(self, *arguments):
        take = real(self, *arguments)

        def overflowing(x, labels):
            taken = take(x, labels)
            taken.columns["residual"][1] = torch.inf
            return taken

        return overflowing

    monkeypatch.setattr(Head, "taker", taker)
    with pytest.raises(BadModel, match=r"the gradient of sample [0-9a-f]{32}.*finite"):
        chain.extract()


@pytest.mark.parametrize("folds", [2, 3])
def test_a_fold_that_leaves_one_class_is_refused_whatever_is_planted(tmp_path, folds):
    run = Run.start(tmp_path, "train")
    samples = ingest.fn(run, Digits(limit=400), Ingestion())
    inputs = load(run, samples, "train")
    # Fold 0 holds all but the zeros, the others share these.
    zero = inputs.labels.numpy() == 0
    fold = np.where(zero, 1 + np.cumsum(zero) % (folds - 1), 0).astype(np.int16)
    with run.draft("folds") as draft:
        table = pa.table({"sample_id": pa.array(inputs.ids, pa.string()), "fold": pa.array(fold)})
        pq.write_table(table, draft.path("folds.parquet", table.num_rows))
        held_out = draft.commit(folds=folds)
    base, known = reference(run, None), split_of(samples, "train")
    votes = vote.fn(run, known, Neighbours(), TRAINING.device)
    plan = Plan(folds=held_out, canaries=plant.fn(run, known, held_out, votes, Canaries(share=0.3), base))
    recipe = Recipe(model=MODEL, training=TRAINING)
    if folds == 3:
        assert plan.canary_labels(run, target_of(samples)).networks[:, 0].any()
    with pytest.raises(BadInput, match="fold 0: expected at least two classes to train on, got 1 in"):
        train.fn(run, known, plan, [0], recipe, base)
    (second,) = train.fn(run, known, plan, [1], recipe, base)
    assert second.facts["trained_on"] == int((fold != 1).sum())


def test_a_value_too_large_for_half_precision_is_refused_and_names_its_sample(chain, monkeypatch):
    real = Layers.taker

    def taker(self, *arguments):
        take = real(self, *arguments)

        def large(x, labels):
            taken = take(x, labels)
            taken.columns["gradient"][0, 0] = 1e5
            return taken

        return large

    monkeypatch.setattr(Layers, "taker", taker)
    with pytest.raises(
        BadModel, match=r"the gradient of sample [0-9a-f]{32}: expected values that float16 can hold, got"
    ):
        chain.extract(Layers(store="float16"))
