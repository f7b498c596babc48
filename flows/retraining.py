"""The retrainings of a proof or of a search, those together that pay to be."""

from __future__ import annotations

from typing import Literal

from tasks.pipeline.artefacts import Artefact, Run, artefact_list
from tasks.pipeline.workers import Workers, each
from tasks.proof.arms import Arm
from tasks.proof.trials import numbered, trials_of
from tasks.steps import retrain
from tasks.training.fit_together import stacks_of
from tasks.training.recipe import Recipe


def retrained(
    run: Run,
    pool: Workers,
    network: Artefact,
    samples: Artefact,
    flags: Artefact | list[Artefact],
    arms: Arm | list[Arm],
    seeds: list[int],
    recipe: Recipe,
    split: Literal["test", "validation"] = "test",
) -> list[Artefact]:
    """The predictions of every trial, in their order.

    Args:
        run: where to write.
        pool: what trains.
        network: what the probe says of it: how many are trained together.
        samples: the training samples and the split that is predicted.
        flags: of each trial, or of all.
        arms: of each trial, or of all.
        seeds: of each trial.
        recipe: the network and its training.
        split: what is predicted.
    """
    together = stacks_of(trials_of(flags, arms, seeds), network.facts["together"])
    return artefact_list(*pool.map(retrain, run, samples, each(numbered(together)), recipe, split).result())
