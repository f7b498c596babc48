"""extract: a shard of samples + the checkpoints → gradients/00017.arrow, each sample by the model that never saw it."""

from __future__ import annotations

from pathlib import PurePath

from tasks.core.devices import claim
from tasks.dataset.samples import load
from tasks.dataset.targets import target_of
from tasks.gradients.kinds import Gradient
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.planning.plan import Plan
from tasks.training.recipe import Recipe


@step("extract {samples.files[0].name}")
def extract(
    run: Run,
    samples: Artefact,
    plan: Plan,
    checkpoints: list[Artefact],
    recipe: Recipe,
    gradient: Gradient,
    base: Artefact,
) -> Artefact:
    """Gradients of one shard's samples: evaluation mode, no augmentation.

    Of a training shard, ``gradients/<shard>.arrow`` (scalars and gradients, written batch by batch) and
    ``gradients/<shard>.parquet`` (scalars): each sample by the network that never saw it, under its given label; and
    ``canaries/<shard>.arrow`` the same of the canaries under their planted labels. Of a shard of another split,
    ``reference/<shard>.arrow``: every sample by every fold's network, to compare with. What a base has of the same
    samples, labels and networks is taken over, only the rest is computed.
    """
    import numpy as np

    from tasks.gradients.extraction import Shard
    from tasks.gradients.planned_samples import planned_samples
    from tasks.gradients.reuse import BaseShard
    from tasks.gradients.shards import ShardWriter

    name, target = PurePath(samples.files[0].name).stem, target_of(samples)
    shard = Shard(run, samples, checkpoints, recipe, gradient, plan.folds.facts["samples"])
    with run.draft("gradients") as draft, claim(recipe.training.device) as device:
        split = name.partition("-")[0]
        if split != "train":
            inputs = load(run, samples, split)
            with ShardWriter(draft, name, "reference") as writer:
                for fold in sorted(shard.by_fold):
                    shard.take(writer, inputs, np.arange(len(inputs.ids)), fold, device)
            return draft.commit(**shard.facts)
        inputs = load(run, samples, "train")
        fold, rows, planted = planned_samples(run, plan, inputs.ids)
        base_shard = BaseShard(run, base, shard.metadata, inputs, samples)
        whole = base_shard.shard(name)
        if whole is not None:
            for file in whole.files:
                if file.name.startswith("gradients/"):
                    draft.adopt(file, run.path(whole, file))
        else:
            todo = np.ones(len(inputs.ids), bool)
            with ShardWriter(draft, name) as writer:
                for base_rows, batch in base_shard.rows():
                    writer.write(batch)
                    todo[base_rows] = False
                for one in np.unique(fold[todo]).tolist():
                    shard.take(writer, inputs, np.flatnonzero(todo & (fold == one)), one, device)
        if len(rows):
            inputs.relabel(rows, planted, target)
            with ShardWriter(draft, name, "canaries") as writer:
                for one in np.unique(fold[rows]).tolist():
                    shard.take(writer, inputs, rows[fold[rows] == one], one, device)
        return draft.commit(**shard.facts)
