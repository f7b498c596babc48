"""What clean and compare share: what is fixed before training, then training and extraction."""

from __future__ import annotations

from tasks.config import Observing
from tasks.dataset.samples import observed_shards, split_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.workers import Workers, each
from tasks.planning.canaries import Canaries
from tasks.planning.plan import Plan
from tasks.scoring.crossfit import CrossFit
from tasks.steps import extract, follow, make_folds, plant, probe, train, vote
from tasks.training.recipe import Recipe


def deal(run: Run, config: Observing, samples: Artefact, base: Artefact) -> tuple[Artefact, Artefact]:
    """Refuse a network that cannot serve, before any time is spent; then the folds, and the neighbours' votes."""
    known = split_of(samples, "train")
    probe(run, split_of(samples), config.model.component, config.gradient.component)
    folds = make_folds(run, known, config.folds, base)
    return folds, vote(run, known, config.neighbours, config.training.device, folds)


def cross_fit(
    run: Run,
    pool: Workers,
    config: Observing,
    samples: Artefact,
    dealt: tuple[Artefact, Artefact],
    base: Artefact,
    recipe: Recipe,
    options: Canaries,
) -> CrossFit:
    """Train one network for each fold, and take every sample's gradient by the network that never saw it."""
    known, (folds, votes) = split_of(samples, "train"), dealt
    canaries = plant(run, known, folds, votes, options, base) if options.share else None
    plan, gradient = Plan(folds=folds, canaries=canaries), config.gradient.component
    checkpoints = pool.map(train, run, known, plan, each(range(plan.count)), recipe, base).result()
    shards = pool.map(extract, run, each(observed_shards(samples)), plan, checkpoints, recipe, gradient, base)
    gradients = follow(shards, "Gradient shards extracted")
    return CrossFit(samples=known, plan=plan, votes=votes, checkpoints=checkpoints, gradients=gradients)
