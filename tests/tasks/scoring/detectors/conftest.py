"""A small run's artefacts, written by hand through the real writers: what every detector is shown in these tests.

Three classes, three folds with a network each; 180 samples whose rank is their number, one of them (``OUTLIER``) with a
wrong label and 18 of them canaries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from tasks.gradients.shards import ShardMetadata, ShardWriter
from tasks.ingestion.opinions import OPINIONS
from tasks.kernels.neighbours import nearest, votes
from tasks.pipeline import schemas
from tasks.pipeline.artefacts import Run
from tasks.planning.plan import Plan
from tasks.scoring.crossfit import CrossFit
from tasks.scoring.evidence import Evidence

N, K, H, F, M = 180, 3, 6, 3, 40
OUTLIER = 37
CANARIES = np.arange(4, N, 10)
CLASSES = ["a", "b", "c"]
INPUTS = [f"x{i}" for i in range(H)]
VALIDATION = slice(N, N + M)


@dataclass
class World:
    """Samples (the last M of them the validation split) and what networks of all folds say of them."""

    seed: int = 0
    features: np.ndarray = field(init=False)
    labels: np.ndarray = field(init=False)
    folds: np.ndarray = field(init=False)
    logits: np.ndarray = field(init=False)
    """F × (N + M) × K"""
    planted: np.ndarray = field(init=False)
    networks: np.ndarray = field(init=False)
    opinion: np.ndarray = field(init=False)
    """What a model from outside thinks, N × K; NaN where it says nothing."""

    def __post_init__(self) -> None:
        generator = np.random.default_rng(self.seed)
        truth = np.arange(N + M) % K
        inputs = generator.normal(size=(N + M, H)) * 0.3
        inputs[np.arange(N + M), truth] += generator.uniform(1.6, 2.4, N + M)
        inputs[OUTLIER] = 3.5 * np.eye(H)[truth[OUTLIER]] + 0.1
        self.features = np.concatenate([inputs, np.ones((N + M, 1))], 1).astype(np.float32)
        weights = np.stack([np.eye(K, H + 1) * scale for scale in (1.2, 1.0, 0.9)])
        weights += generator.normal(size=weights.shape) * 0.05
        self.logits = np.einsum("fkh,nh->fnk", weights, self.features).astype(np.float32)
        self.labels = truth.copy()
        self.labels[OUTLIER] = (truth[OUTLIER] + 1) % K
        self.folds = (np.arange(N + M) // K % F).astype(np.int16)
        self.planted = (truth[CANARIES] + 1 + np.arange(len(CANARIES)) % 2) % K
        # Of the two networks that are trained on a canary, one learns the planted label.
        self.opinion = np.where(np.eye(K)[truth[:N]] == 1, 0.8, 0.1).astype(np.float32)
        self.opinion += generator.uniform(0, 0.05, (N, K)).astype(np.float32)
        self.opinion /= self.opinion.sum(1, keepdims=True)
        self.opinion[::30] = np.nan
        self.networks = np.arange(F) == (self.folds[CANARIES] + 1)[:, None] % F

    def permuted(self, places: tuple[int, ...]) -> World:
        """The same world with its classes in another order: class c stands at ``places[c]``."""
        other, to = World(self.seed), np.array(places)
        other.labels, other.planted = to[self.labels], to[self.planted]
        other.logits, other.opinion = self.logits[..., np.argsort(to)], self.opinion[:, np.argsort(to)]
        return other

    def outputs(self, rows: np.ndarray, labels: np.ndarray, networks: np.ndarray) -> SimpleNamespace:
        """Probabilities, residuals and losses of samples under labels, each by one fold's network."""
        logits = self.logits[networks, rows]
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        p_label = p[np.arange(len(rows)), labels]
        return SimpleNamespace(
            logits=logits, p=p, residual=p - np.eye(K, dtype=np.float32)[labels], loss=-np.log(p_label), p_label=p_label
        )

    def dynamics(self, rows: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """What the training saw of samples under labels, the same in every network that was trained so."""
        logits = self.logits.mean(0)[rows]
        p = torch.softmax(torch.from_numpy(logits), 1).numpy()
        at = np.arange(len(rows))
        others = logits.copy()
        others[at, labels] = -np.inf
        return {
            "aum": logits[at, labels] - others.max(1),
            "mean_loss": -np.log(p[at, labels]),
            "el2n": np.linalg.norm(p - np.eye(K)[labels], axis=1).astype(np.float32),
            "sei": (np.where(logits.argmax(1) == labels, -1, 1) * (p * np.log(p)).sum(1) / np.log(K)).astype(
                np.float32
            ),
        }


@dataclass
class Builder:
    """Makes evidence of a world.

    Args:
        folder: below which each evidence has a lake of its own.
        world: what there is.
    """

    folder: Path
    world: World = field(default_factory=World)
    made: int = 0

    def __call__(
        self,
        labels: np.ndarray | None = None,
        order: np.ndarray | None = None,
        cuts: tuple[int, ...] = (),
        canaries: bool = True,
        reference: bool = False,
        untrained: tuple[int, ...] = (),
        whole: bool = False,
        new: np.ndarray | None = None,
        opinions: dict[str, np.ndarray] | None = None,
    ) -> Evidence:
        """Evidence of the world.

        Args:
            labels: given ones, if other than the world's.
            order: of the rows in the shards.
            cuts: where the rows are cut into shards.
            canaries: whether there are any.
            reference: whether there is a validation split.
            untrained: samples that no network was trained on.
            whole: store gradients whole and not as factors.
            new: samples that the networks' own run did not have; none, by default.
            opinions: from outside, by name; the world's, by default.
        """
        self.made += 1
        run = Run.start(self.folder / str(self.made), "detectors")
        labels = self.world.labels[:N] if labels is None else labels
        order = np.arange(N) if order is None else order
        shards = np.split(order, cuts)
        places = CANARIES if canaries else CANARIES[:0]
        gradients = [self._shard(run, f"train-{i:05d}", rows, labels, places, whole) for i, rows in enumerate(shards)]
        if reference:
            gradients.append(self._reference(run, whole))
        learned = [self._checkpoint(run, fold, order, labels, places, untrained) for fold in range(F)]
        samples, folds = self._samples(run, labels, shards), self._folds(run, order, new)
        plan = Plan(folds=folds, canaries=self._canaries(run, places))
        made = {"votes": self._votes(run), "checkpoints": learned, "gradients": gradients}
        made["opinions"] = self._opinions(run, {"outside": self.world.opinion} if opinions is None else opinions)
        return Evidence(run, CrossFit(samples=samples, plan=plan, **made))

    def _folds(self, run, order, new):
        columns = [ids(order), self.world.folds[order], np.isin(order, [] if new is None else new)]
        with run.draft("folds") as draft:
            pq.write_table(pa.table(columns, schema=schemas.FOLDS), draft.path("folds.parquet", N))
            return draft.commit()

    def _samples(self, run, labels, shards):
        with run.draft("samples") as draft:
            for i, rows in enumerate([*shards, np.arange(N, N + M)]):
                split = "train" if i < len(shards) else "validation"
                given = labels if split == "train" else self.world.labels
                columns = {"sample_id": ids(rows), "source": ["toy"] * len(rows), "row": rows}
                columns |= {"split": [split] * len(rows), "label": [CLASSES[given[row]] for row in rows]}
                columns |= {name: pa.nulls(len(rows), pa.string()) for name in ("clean_label", "group", "source_id")}
                table = pa.table(columns, schema=schemas.SAMPLES)
                for name, values in zip(INPUTS, self.world.features.T, strict=False):
                    table = table.append_column(name, pa.array(values[rows]))
                pq.write_table(table, draft.path(f"samples/{split}-{i:05d}.parquet", len(rows)))
            payload = {"kind": "array", "columns": INPUTS, "shape": [H], "dtype": "float32"}
            return draft.commit(classes=CLASSES, splits={"train": N, "validation": M}, payload=payload)

    def _shard(self, run, name, rows, labels, places, whole):
        folds, canaries = self.world.folds, np.flatnonzero(np.isin(places, rows))
        with run.draft("gradients") as draft:
            with ShardWriter(draft, name) as writer:
                # More batches than one in a shard.
                for some in np.array_split(rows, min(3, len(rows))):
                    writer.write(self._batch(some, labels[some], folds[some], whole))
            if len(canaries):
                own = places[canaries]
                with ShardWriter(draft, name, "canaries") as writer:
                    writer.write(self._batch(own, self.world.planted[canaries], folds[own], whole))
            return draft.commit()

    def _reference(self, run, whole):
        rows = np.arange(N, N + M)
        with run.draft("gradients") as draft:
            with ShardWriter(draft, "validation-00000", "reference") as writer:
                for fold in range(F):
                    writer.write(self._batch(rows, self.world.labels[rows], np.full(M, fold, np.int16), whole))
            return draft.commit()

    def _batch(self, rows, labels, networks, whole):
        said = self.world.outputs(rows, labels, networks)
        features = self.world.features[rows]
        gradient = np.einsum("nk,nh->nkh", said.residual, features).reshape(len(rows), -1)
        kept = {"gradient": gradient} if whole else {"features": features}
        target = {} if whole else {"target": labels[:, None].astype(np.int32)}
        vectors = kept | {"logits": said.logits} | target
        columns = {"sample_id": ids(rows), "fold": networks, "predicted": [CLASSES[c] for c in said.p.argmax(1)]}
        columns |= {"loss": said.loss, "p_label": said.p_label, "p_predicted": said.p.max(1)}
        columns |= {"l1": np.abs(gradient).sum(1), "l2": np.linalg.norm(gradient, axis=1)}
        columns |= {name: listed(values) for name, values in vectors.items()}
        about = ShardMetadata(
            gradient={"kind": "head"},
            loss=("cross_entropy", 0.0),
            checkpoints=tuple("abc"),
            epochs=(1,),
            layers=(),
            joined="sum",
        )
        schema = about.on(schemas.gradient_shard({name: values.shape[1] for name, values in vectors.items()}))
        return pa.table(columns, schema=schema).to_batches()[0]

    def _votes(self, run):
        # By the labels that were given in the world, whatever this evidence's are.
        x = torch.from_numpy(self.world.features[:N])
        (_, found, _), *_ = nearest(x, x, torch.arange(N), 12)
        said = votes(found, torch.from_numpy(self.world.labels[:N]), K).numpy()
        columns = [ids(np.arange(N)), listed(said), listed(found.numpy().astype(np.int32))]
        with run.draft("votes") as draft:
            pq.write_table(pa.table(columns, schema=schemas.votes(K, 12)), draft.path("votes.parquet", N))
            return draft.commit()

    def _opinions(self, run, opinions):
        if not opinions:
            return None
        tables = []
        for name, p in opinions.items():
            heard = np.flatnonzero(~np.isnan(p).any(1))
            columns = {"sample_id": ids(heard), "opinion": [name] * len(heard)}
            columns |= {"predicted": [CLASSES[c] for c in p[heard].argmax(1)], "p_predicted": p[heard].max(1)}
            tables.append(pa.table(columns | {"probabilities": list(p[heard])}, schema=OPINIONS))
        with run.draft("opinions") as draft:
            pq.write_table(pa.concat_tables(tables), draft.path("opinions.parquet"))
            return draft.commit(opinions=[{"name": name} for name in opinions])

    def _checkpoint(self, run, fold, order, labels, places, untrained):
        rows = order[(self.world.folds[order] != fold) & ~np.isin(order, untrained)]
        borne, bearing = labels.copy(), np.zeros(N, bool)
        learned = places[self.world.networks[: len(places), fold]]
        bearing[learned] = True
        borne[learned] = self.world.planted[: len(places)][self.world.networks[: len(places), fold]]
        columns = {"sample_id": ids(rows), "fold": np.full(len(rows), fold, np.int16), "planted": bearing[rows]}
        columns |= {"label": [CLASSES[c] for c in borne[rows]]} | self.world.dynamics(rows, borne[rows])
        with run.draft("checkpoints") as draft:
            path = draft.path(f"dynamics/fold-{fold}.parquet", len(rows))
            pq.write_table(pa.table(columns, schema=schemas.DYNAMICS), path)
            return draft.commit(fold=fold)

    def _canaries(self, run, places):
        m = len(places)
        columns = {"sample_id": ids(places), "planted_label": [CLASSES[c] for c in self.world.planted[:m]]}
        columns |= {"kind": ["slip"] * m, "networks": listed(self.world.networks[:m])}
        with run.draft("canaries") as draft:
            table = pa.table(columns, schema=schemas.canaries(F))
            pq.write_table(table, draft.path("canaries.parquet", m))
            return draft.commit()


def ids(rows: np.ndarray) -> pa.Array:
    """Names in the order of the numbers."""
    return pa.array([f"{row:04d}" for row in rows], pa.string())


def listed(values: np.ndarray) -> pa.FixedSizeListArray:
    """n × width as fixed-size lists."""
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


@pytest.fixture(scope="session")
def world() -> World:
    """Samples and what three networks say of them."""
    return World()


@pytest.fixture(scope="session")
def evidence_of(tmp_path_factory) -> Builder:
    """Makes evidence of the world, each in a lake of its own."""
    return Builder(tmp_path_factory.mktemp("evidence"))


@pytest.fixture(scope="session")
def reordered(tmp_path_factory, world) -> Evidence:
    """The same samples, their classes in another order."""
    return Builder(tmp_path_factory.mktemp("reordered"), world.permuted((2, 0, 1)))()


@pytest.fixture(scope="session")
def evidence(evidence_of) -> Evidence:
    """One shard, in the order of the ids."""
    return evidence_of()


@pytest.fixture(scope="session")
def referred(evidence_of) -> Evidence:
    """With a validation split."""
    return evidence_of(reference=True)


@pytest.fixture(scope="session")
def shuffled(evidence_of) -> Evidence:
    """The same samples and validation split in another order, in three shards."""
    return evidence_of(order=np.random.default_rng(5).permutation(N), cuts=(70, 71), reference=True)


@pytest.fixture(scope="session")
def relabelled(evidence_of, world) -> Evidence:
    """A run that was given the canaries' planted labels, and has no canaries of its own."""
    labels = world.labels[:N].copy()
    labels[CANARIES] = world.planted
    return evidence_of(labels=labels, canaries=False)
