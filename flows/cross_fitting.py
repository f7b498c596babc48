"""What clean and compare share: the samples as networks see them, what is fixed before training, then the networks."""

from __future__ import annotations

from typing import NamedTuple

from tasks.config import EvidenceConfig
from tasks.core.errors import BadConfig
from tasks.dataset.encoders.frozen import FrozenEncoder
from tasks.dataset.payload import Payload, payload_of
from tasks.dataset.samples import check_splits, observed_shards, split_of
from tasks.pipeline.artefacts import Artefact, Run, artefact_list
from tasks.pipeline.recorded_run import reference
from tasks.pipeline.schemas import SPLITS
from tasks.pipeline.workers import Workers, each
from tasks.planning.canaries import Canaries
from tasks.planning.plan import Plan
from tasks.scoring.crossfit import CrossFit
from tasks.steps import (
    collect_opinions,
    encode,
    extract,
    find_copies,
    follow,
    leave_out_copies,
    make_folds,
    plant,
    probe,
    train,
    vote,
)
from tasks.training.fit_together import stacks_of
from tasks.training.recipe import Recipe


class Views(NamedTuple):
    """The samples as a run's steps see them."""

    samples: Artefact
    """What the run is about: without the copies that are to be left out."""
    copies: Artefact
    inputs: Artefact
    """As networks receive them: the vectors of a frozen encoder, where the model is one."""
    compared: Artefact
    """As neighbours are looked for."""

    @property
    def development(self) -> Artefact:
        """What budgets are chosen by: nothing of the test split."""
        return split_of(self.inputs, "train", "validation")

    @property
    def proof(self) -> Artefact:
        """What the arms are trained and compared on."""
        return split_of(self.inputs, "train", "test")


def views_of(run: Run, config: EvidenceConfig, ingested: Artefact) -> Views:
    """The samples without spare copies; where the model has a frozen encoder, also as it sees them.

    Raises:
        BadInput: a split is empty that the flow needs.
    """
    check_splits(ingested, config.splits)
    encoder = _encoder_of(config, payload_of(ingested))
    features = encode(run, ingested, encoder, config.training.device) if encoder else None
    copies = find_copies(run, ingested, config.copies, features)
    left_out = copies.subset(("left_out",))
    samples = leave_out_copies(run, ingested, left_out) if left_out.rows else ingested
    vectors = samples.with_facts(payload=features.facts["payload"]) if features else samples
    inputs = vectors if config.model.component.is_frozen else samples
    compared = samples if config.neighbours.space == "inputs" else vectors
    return Views(samples, copies, split_of(inputs, *SPLITS), split_of(compared, *SPLITS))


def _encoder_of(config: EvidenceConfig, payload: Payload) -> FrozenEncoder | None:
    """The model's frozen encoder, where anything is made of its vectors.

    Raises:
        BadConfig: neighbours are to be looked for in an encoder's space, and the model has none.
    """
    model, space = config.model.component, config.neighbours.space
    encoder = model.frozen_encoder(payload)
    if encoder is None and space == "encoder":
        raise BadConfig(
            where="option neighbours.space",
            expected="auto or inputs, for the model has no pretrained encoder",
            got="encoder",
            do="Name one by --model.kind encoder --model.weights FOLDER, or leave --neighbours.space away.",
        )
    return None if space == "inputs" and not model.is_frozen else encoder


def deal(
    run: Run, config: EvidenceConfig, views: Views, base: Artefact | None = None
) -> tuple[Artefact, Artefact, Artefact]:
    """Refuse a network that cannot serve, before any time is spent; then the folds, and the neighbours' votes."""
    base = base or reference(run, None)
    network = probe(run, split_of(views.inputs), config.recipe, config.gradient.component)
    near = views.copies.subset(("near_contents",))
    folds = make_folds(run, split_of(views.samples, "train"), config.folds, base, near)
    votes = vote(run, split_of(views.compared, "train"), config.neighbours, config.training.device, folds)
    return network, folds, votes


def cross_fit(
    run: Run,
    pool: Workers,
    config: EvidenceConfig,
    views: Views,
    dealt: tuple[Artefact, Artefact, Artefact],
    base: Artefact | None,
    recipe: Recipe,
    options: Canaries,
) -> CrossFit:
    """Train one network for each fold, and take every sample's gradient by the network that never saw it.

    ``dealt``: the network that was looked at, the folds and the votes.
    """
    base = base or reference(run, None)
    samples, inputs, (network, folds, votes) = views.samples, split_of(views.inputs, "train"), dealt
    opinions = collect_opinions(run, split_of(samples, *SPLITS), config.opinions) if config.opinions else None
    canaries = plant(run, split_of(samples, "train"), folds, votes, options, base) if options.share else None
    plan, gradient = Plan(folds=folds, canaries=canaries), config.gradient.component
    together = each(stacks_of(list(range(plan.count)), network.facts["together"]))
    checkpoints = artefact_list(*pool.map(train, run, inputs, plan, together, recipe, base).result())
    shards = pool.map(extract, run, each(observed_shards(views.inputs)), plan, checkpoints, recipe, gradient, base)
    gradients = follow(shards, "Gradient shards extracted")
    return CrossFit(
        samples=inputs,
        plan=plan,
        votes=votes,
        checkpoints=checkpoints,
        gradients=gradients,
        opinions=opinions,
    )


def with_gradients_of(run: Run, config: EvidenceConfig, samples: Artefact, split: str, crossfit: CrossFit) -> CrossFit:
    """With gradients of another split, each sample by every fold's network: of a recorded run, as it was configured."""
    encoder = config.model.component.frozen_encoder(payload_of(samples))
    inputs = samples
    if encoder is not None and config.model.component.is_frozen:
        features = encode(run, samples, encoder, config.training.device)
        inputs = samples.with_facts(payload=features.facts["payload"])
    base = reference(run, None)
    gradients = [
        extract(run, shard, crossfit.plan, crossfit.checkpoints, config.recipe, config.gradient.component, base)
        for shard in observed_shards(inputs, (split,))
    ]
    return crossfit.model_copy(update={"gradients": [*crossfit.gradients, *gradients]})
