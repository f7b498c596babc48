"""A sample's gradient is taken from the network that never saw it, and training and extraction repeat to the byte."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tasks.artefacts import Run
from tasks.errors import BadInput
from tasks.extract import extract
from tasks.fitting import Training, build, fit
from tasks.gradients.head import Head
from tasks.ingest import ingest
from tasks.models.mlp import Mlp
from tasks.plan import plan
from tasks.readers.digits import Digits
from tasks.samples import load, payload_of
from tasks.schemas import GRADIENTS, gradient_shard
from tasks.train import train
from tasks.validation import Ingestion

MODEL = Mlp(hidden=[6], dropout=0.2)
TRAINING = Training(epochs=2, batch_size=32, device="cpu", seed=3)


class Chain:
    """ingest → plan → train → extract, on a lake of its own."""

    def __init__(self, lake, folds, training=TRAINING):
        self.run = Run.start(lake, "extract")
        self.samples = ingest.fn(self.run, Digits(limit=120), Ingestion(shard_rows=50))
        self.folds = plan.fn(self.run, self.samples, folds, MODEL, Head())
        self.training = training
        self.checkpoints = [self.train(fold) for fold in range(folds)]

    def train(self, fold):
        return train.fn(self.run, self.samples, self.folds, fold, MODEL, self.training)

    def extract(self):
        return [
            extract.fn(self.run, shard, self.folds, self.checkpoints, MODEL, Head(), "cpu")
            for shard in self.samples.shards("samples/train-", "payload", "classes")
        ]

    def fold_of(self):
        return dict(zip(*pq.read_table(self.run.path(self.folds)).to_pydict().values(), strict=True))

    def network(self, fold):
        network = build(MODEL, payload_of(self.samples), len(self.samples.facts["classes"]))
        state = torch.load(self.run.path(self.checkpoints[fold]), weights_only=True)
        network.load_state_dict(state)
        return network.eval()


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
        (path,) = chain.run.paths(artefact, ".arrow")
        table = pa.ipc.open_file(path).read_all()
        assert table.schema.equals(gradient_shard(10, 7))
        rows |= {row["sample_id"]: row for row in table.to_pylist()}
    assert rows.keys() == set(inputs.ids)
    for i, name in enumerate(inputs.ids):
        row, network = rows[name], networks[fold_of[name]]
        assert row["fold"] == fold_of[name]
        network.zero_grad()
        logits = network(inputs.x[i : i + 1])
        loss = torch.nn.functional.cross_entropy(logits, inputs.labels[i : i + 1])
        loss.backward()
        head = network[1][-1]
        expected = torch.cat([head.weight.grad, head.bias.grad[:, None]], 1).numpy()
        gradient = np.outer(row["residual"], row["features"])
        np.testing.assert_allclose(gradient, expected, rtol=1e-4, atol=1e-6)
        p = logits.softmax(1)[0]
        assert row["loss"] == pytest.approx(loss.item(), rel=1e-4, abs=1e-6)
        assert row["p_label"] == pytest.approx(p[inputs.labels[i]].item(), rel=1e-4)
        assert row["p_predicted"] == pytest.approx(p.max().item(), rel=1e-4)
        assert row["predicted"] == classes[int(p.argmax())]
        assert row["l1"] == pytest.approx(np.abs(expected).sum(), rel=1e-4)
        assert row["l2"] == pytest.approx(np.linalg.norm(expected), rel=1e-4)


def test_a_checkpoint_is_trained_on_exactly_the_other_folds(chain):
    inputs = load(chain.run, chain.samples, "train")
    folds = len(chain.checkpoints)
    fold = np.array([chain.fold_of()[name] for name in inputs.ids])
    for held_out, checkpoint in enumerate(chain.checkpoints):
        rows = np.arange(len(fold)) if folds == 1 else np.flatnonzero(fold != held_out)
        twin = fit(
            MODEL, payload_of(chain.samples), 10, inputs, rows, TRAINING, seed=TRAINING.seed + held_out, label="twin"
        )
        assert checkpoint.facts == {"fold": held_out, "trained_on": len(rows)}
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
        (arrow,), (parquet,) = chain.run.paths(artefact, ".arrow"), chain.run.paths(artefact, ".parquet")
        scalars = pq.read_table(parquet, schema=GRADIENTS)
        assert scalars.equals(pa.ipc.open_file(arrow).read_all().select(GRADIENTS.names).cast(GRADIENTS))


def test_the_early_epoch_is_another_network_than_the_last(chain):
    early = train.fn(chain.run, chain.samples, chain.folds, 0, MODEL, TRAINING.model_copy(update={"early_epoch": 1}))
    assert early.files[0].sha256 != chain.checkpoints[0].files[0].sha256
    last = train.fn(chain.run, chain.samples, chain.folds, 0, MODEL, TRAINING.model_copy(update={"early_epoch": 2}))
    assert last.files[0].sha256 == chain.checkpoints[0].files[0].sha256


def test_a_fold_that_leaves_one_class_is_refused(tmp_path):
    run = Run.start(tmp_path, "train")
    samples = ingest.fn(run, Digits(limit=120), Ingestion(shard_rows=50))
    inputs = load(run, samples, "train")
    # Fold 1 holds only zeros, fold 0 all others.
    fold = (inputs.labels.numpy() == 0).astype(np.int16)
    with run.draft("folds") as draft:
        table = pa.table({"sample_id": pa.array(inputs.ids, pa.string()), "fold": pa.array(fold)})
        pq.write_table(table, draft.path("folds.parquet", table.num_rows))
        folds = draft.commit(folds=2)
    with pytest.raises(BadInput, match="fold 0: expected at least two classes to train on, got 1 in"):
        train.fn(run, samples, folds, 0, MODEL, TRAINING)
    assert train.fn(run, samples, folds, 1, MODEL, TRAINING).facts["trained_on"] == int((fold == 0).sum())
