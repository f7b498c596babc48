"""What clean and compare share: what is fixed before training, then training and extraction."""

from __future__ import annotations

from tasks.config import EvidenceConfig
from tasks.dataset.payload import Payload
from tasks.dataset.samples import observed_shards, split_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.schemas import SPLITS
from tasks.pipeline.workers import Workers, each
from tasks.planning.canaries import Canaries
from tasks.planning.plan import Plan
from tasks.scoring.crossfit import CrossFit
from tasks.steps import (
    collect_opinions,
    extract,
    find_copies,
    follow,
    ingest,
    leave_out_copies,
    make_folds,
    plant,
    probe,
    train,
    vote,
)
from tasks.training.recipe import Recipe


def read_samples(run: Run, config: EvidenceConfig, known: Payload | None = None) -> tuple[Artefact, Artefact, Artefact]:
    """The dataset as it came, what the run is about (without the copies that are to be left out), and all copies."""
    ingested = ingest(run, config.reader.component, config.ingestion, known)
    copies = find_copies(run, ingested, config.copies)
    left_out = copies.subset(("left_out",))
    return ingested, leave_out_copies(run, ingested, left_out) if left_out.rows else ingested, copies


def deal(
    run: Run, config: EvidenceConfig, samples: Artefact, base: Artefact, copies: Artefact
) -> tuple[Artefact, Artefact]:
    """Refuse a network that cannot serve, before any time is spent; then the folds, and the neighbours' votes."""
    train_samples = split_of(samples, "train")
    probe(run, split_of(samples), config.model.component, config.gradient.component)
    folds = make_folds(run, train_samples, config.folds, base, copies.subset(("near_contents",)))
    return folds, vote(run, train_samples, config.neighbours, config.training.device, folds)


def cross_fit(
    run: Run,
    pool: Workers,
    config: EvidenceConfig,
    samples: Artefact,
    folds_and_votes: tuple[Artefact, Artefact],
    base: Artefact,
    recipe: Recipe,
    options: Canaries,
) -> CrossFit:
    """Train one network for each fold, and take every sample's gradient by the network that never saw it."""
    train_samples, (folds, votes) = split_of(samples, "train"), folds_and_votes
    opinions = collect_opinions(run, split_of(samples, *SPLITS), config.opinions) if config.opinions else None
    canaries = plant(run, train_samples, folds, votes, options, base) if options.share else None
    plan, gradient = Plan(folds=folds, canaries=canaries), config.gradient.component
    checkpoints = pool.map(train, run, train_samples, plan, each(range(plan.count)), recipe, base).result()
    shards = pool.map(extract, run, each(observed_shards(samples)), plan, checkpoints, recipe, gradient, base)
    gradients = follow(shards, "Gradient shards extracted")
    return CrossFit(
        samples=train_samples,
        plan=plan,
        votes=votes,
        checkpoints=checkpoints,
        gradients=gradients,
        opinions=opinions,
    )
