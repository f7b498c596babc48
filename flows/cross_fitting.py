"""What clean and compare share: what is fixed before training, then training and extraction."""

from __future__ import annotations

from flows.sample_views import Views
from tasks.config import EvidenceConfig
from tasks.dataset.samples import observed_shards, split_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.schemas import SPLITS
from tasks.pipeline.workers import Workers, each
from tasks.planning.canaries import Canaries
from tasks.planning.plan import Plan
from tasks.scoring.crossfit import CrossFit
from tasks.steps import collect_opinions, extract, follow, make_folds, plant, probe, train, vote
from tasks.training.recipe import Recipe


def deal(run: Run, config: EvidenceConfig, views: Views, base: Artefact) -> tuple[Artefact, Artefact, Artefact]:
    """Refuse a network that cannot serve, before any time is spent; then the folds, and the neighbours' votes."""
    network = probe(run, split_of(views.inputs), config.model.component, config.gradient.component)
    near = views.copies.subset(("near_contents",))
    folds = make_folds(run, split_of(views.samples, "train"), config.folds, base, near)
    votes = vote(run, split_of(views.compared, "train"), config.neighbours, config.training.device, folds)
    return network, folds, votes


def cross_fit(
    run: Run,
    pool: Workers,
    config: EvidenceConfig,
    views: Views,
    folds_and_votes: tuple[Artefact, Artefact],
    base: Artefact,
    recipe: Recipe,
    options: Canaries,
) -> CrossFit:
    """Train one network for each fold, and take every sample's gradient by the network that never saw it."""
    samples, inputs, (folds, votes) = views.samples, split_of(views.inputs, "train"), folds_and_votes
    opinions = collect_opinions(run, split_of(samples, *SPLITS), config.opinions) if config.opinions else None
    canaries = plant(run, split_of(samples, "train"), folds, votes, options, base) if options.share else None
    plan, gradient = Plan(folds=folds, canaries=canaries), config.gradient.component
    checkpoints = pool.map(train, run, inputs, plan, each(range(plan.count)), recipe, base).result()
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
