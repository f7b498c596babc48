"""Training and extraction, as clean and compare share them."""

from __future__ import annotations

from tasks.dataset.samples import observed_shards, split_of
from tasks.gradients.kinds import Gradient
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.workers import Workers, each
from tasks.planning.plan import Plan
from tasks.scoring.crossfit import CrossFit
from tasks.steps import extract, follow, train
from tasks.training.recipe import Recipe


def cross_fit(
    run: Run, pool: Workers, samples: Artefact, plan: Plan, votes: Artefact, recipe: Recipe, gradient: Gradient
) -> CrossFit:
    """Train one network for each fold, and take every sample's gradient by the network that never saw it."""
    known = split_of(samples, "train")
    checkpoints = pool.map(train, run, known, plan, each(range(plan.count)), recipe).result()
    shards = pool.map(extract, run, each(observed_shards(samples)), plan, checkpoints, recipe, gradient)
    gradients = follow(shards, "Gradient shards extracted")
    return CrossFit(samples=known, plan=plan, votes=votes, checkpoints=checkpoints, gradients=gradients)
