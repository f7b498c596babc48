"""The data's way without Prefect: each step is called as the plain function that it is."""

from __future__ import annotations

from typing import Literal

from tasks.dataset.samples import observed_shards, split_of
from tasks.gradients.extract import extract
from tasks.gradients.kinds import Gradient
from tasks.gradients.kinds.head import Head
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.recorded_run import reference
from tasks.planning.canaries import Canaries
from tasks.planning.make_folds import make_folds
from tasks.planning.neighbours import Neighbours
from tasks.planning.plan import Plan
from tasks.planning.plant import plant
from tasks.planning.vote import vote
from tasks.proof.arms import Arm
from tasks.proof.retrain import retrain
from tasks.proof.trials import Trial, Trials
from tasks.scoring.crossfit import CrossFit
from tasks.training.recipe import Recipe
from tasks.training.train import train

Split = Literal["test", "validation"]


def planned(
    run: Run,
    samples: Artefact,
    folds: int = 3,
    canaries: Canaries = Canaries(),  # noqa: B008  frozen
    base: Artefact | None = None,
    neighbours: Neighbours = Neighbours(),  # noqa: B008
) -> tuple[Plan, Artefact]:
    """(the plan of a run, its votes), as the flows make them."""
    known, base = split_of(samples, "train"), base or reference(run, None)
    dealt = make_folds.fn(run, known, folds, base)
    votes = vote.fn(run, known, neighbours, "cpu", dealt)
    planted = plant.fn(run, known, dealt, votes, canaries, base) if canaries.share else None
    return Plan(folds=dealt, canaries=planted), votes


def trained(run: Run, samples: Artefact, plan: Plan, recipe: Recipe, base: Artefact | None = None) -> list[Artefact]:
    """The checkpoints of every fold."""
    known, base = split_of(samples, "train"), base or reference(run, None)
    return [fold for i in range(plan.count) for fold in train.fn(run, known, plan, [i], recipe, base)]


def extracted(
    run: Run,
    samples: Artefact,
    plan: Plan,
    checkpoints: list[Artefact],
    recipe: Recipe,
    gradient: Gradient = Head(),  # noqa: B008  frozen
    base: Artefact | None = None,
) -> list[Artefact]:
    """The gradient shards of the training samples, then of the validation samples."""
    given = (plan, checkpoints, recipe, gradient, base or reference(run, None))
    return [extract.fn(run, shard, *given) for shard in observed_shards(samples)]


def cross_fitted(
    run: Run,
    samples: Artefact,
    recipe: Recipe,
    gradient: Gradient = Head(),  # noqa: B008  frozen
    **planning: object,
) -> CrossFit:
    """All of it: what ``flows/cross_fitting.py`` makes of a plan."""
    plan, votes = planned(run, samples, **planning)  # type: ignore[arg-type]
    checkpoints = trained(run, samples, plan, recipe)
    gradients = extracted(run, samples, plan, checkpoints, recipe, gradient)
    known = split_of(samples, "train")
    return CrossFit(samples=known, plan=plan, votes=votes, checkpoints=checkpoints, gradients=gradients)


def retrained(
    run: Run, samples: Artefact, flags: Artefact, arm: Arm, seed: int, recipe: Recipe, split: Split = "test"
) -> Artefact:
    """The predictions of one arm under one seed, by a network that is trained alone."""
    trials = Trials(members=[Trial(flags=flags, arm=arm, seed=seed)])
    return retrain.fn(run, samples, trials, recipe, split)[0]
