"""extract: a shard of samples + the checkpoints → gradients/00017.arrow, each sample by the model that never saw it."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from tasks.artefacts import Artefact, Run
from tasks.devices import claimed
from tasks.fitting import Training, build
from tasks.gradients import Gradient
from tasks.models import Model
from tasks.samples import fold_of, load, payload_of
from tasks.step import step

if TYPE_CHECKING:
    from torch import nn


@step("extract {samples.files[0].name}")
def extract(
    run: Run,
    samples: Artefact,
    folds: Artefact,
    checkpoints: list[Artefact],
    model: Model,
    gradient: Gradient,
    training: Training,
    base: Artefact,
) -> Artefact:
    """Gradients of one shard's training samples: evaluation mode, no augmentation.

    Leaves ``gradients/<shard>.arrow`` (scalars and gradients, written batch by batch) and ``gradients/<shard>.parquet``
    (scalars). What a base has of the same samples, labels and networks is taken over, only the rest is computed.
    """
    import numpy as np

    from tasks.extraction import BatchSize, Earlier, about_of, batch_rows, record_batch, taken
    from tasks.shards import ShardWriter

    inputs = load(run, samples, "train")
    classes, loss = samples.facts["classes"], training.objective
    by_fold = {checkpoint.facts["fold"]: checkpoint for checkpoint in checkpoints}
    fold = fold_of(run, folds, inputs.ids)
    about = about_of(gradient, loss, checkpoints, gradient.layers(_blank(samples, model)))
    name = PurePath(samples.files[0].name).stem
    earlier = Earlier(run, base, about, inputs, classes)
    with run.draft("gradients") as draft, claimed(training.device) as device:
        if whole := earlier.shard(name):
            for file in whole.files:
                draft.adopt(file, run.path(whole, file))
            return draft.commit(**whole.facts)
        todo = np.ones(len(inputs.ids), bool)
        with ShardWriter(draft, name) as writer:
            for places, batch in earlier.rows():
                writer.write(batch)
                todo[places] = False
            for one in np.unique(fold[todo]).tolist():
                networks = [network.to(device) for network in _networks(run, samples, by_fold[one], model)]
                example = inputs.x[:1].to(device)
                takers = [gradient.taker(network, example, loss, folds.facts["samples"]) for network in networks]
                size = BatchSize(batch_rows(gradient, networks[0], example))
                rows = np.flatnonzero(todo & (fold == one))
                for of_batch, columns in taken(takers, gradient.checkpoints, inputs, rows, size, device, loss):
                    writer.write(record_batch(inputs, of_batch, one, columns, classes, about))
        return draft.commit(gradient=about.gradient, loss=about.loss, checkpoints=about.checkpoints)


def _blank(samples: Artefact, model: Model) -> nn.Module:
    return build(model, payload_of(samples), len(samples.facts["classes"])).eval()


def _networks(run: Run, samples: Artefact, checkpoint: Artefact, model: Model) -> list[nn.Module]:
    """The networks of one fold, by epoch."""
    import torch

    networks = []
    for path in run.paths(checkpoint):
        network = _blank(samples, model)
        network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        networks.append(network)
    return networks
