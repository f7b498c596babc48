"""extract: a shard of samples + the checkpoints → gradients/00017.arrow, each sample by the model that never saw it."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from tasks.artefacts import Artefact, Run
from tasks.devices import claimed
from tasks.earlier import stages_of
from tasks.fitting import Training, build
from tasks.gradients import Gradient
from tasks.models import Model
from tasks.samples import fold_of, load, payload_of, sample_paths
from tasks.step import step

if TYPE_CHECKING:
    import numpy as np
    from torch import nn

    from tasks.samples import Inputs


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

    from tasks.extraction import BatchSize, about_of, batch_rows, known_gradients, record_batch, taken
    from tasks.shards import ShardWriter

    inputs = load(run, samples, "train")
    classes, loss = samples.facts["classes"], training.objective
    by_fold = {checkpoint.facts["fold"]: checkpoint for checkpoint in checkpoints}
    fold = fold_of(run, folds, inputs.ids)
    about = about_of(gradient, loss, checkpoints, gradient.layers(_blank(samples, model)))
    todo = np.ones(len(inputs.ids), bool)
    with run.draft("gradients") as draft, claimed(training.device) as device:
        with ShardWriter(draft, PurePath(samples.files[0].name).stem) as writer:
            for batch in known_gradients(run, base, about, _unchanged(run, base, inputs, classes)):
                writer.write(batch)
                todo &= ~np.isin(inputs.ids, batch["sample_id"].to_numpy(zero_copy_only=False))
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


def _unchanged(run: Run, base: Artefact, inputs: Inputs, classes: list[str]) -> np.ndarray:
    """Those of the shard's samples that the base has, with the same label: a relabelled one has another gradient."""
    import numpy as np
    import pyarrow.parquet as pq

    known: list[str] = []
    mine = dict(zip(inputs.ids, (classes[i] for i in inputs.labels.tolist()), strict=True))
    for before in stages_of(run, base, "samples"):
        for path in sample_paths(run, before, "train"):
            with pq.ParquetFile(path) as file:
                for batch in file.iter_batches(columns=["sample_id", "label"]):
                    theirs = zip(batch["sample_id"].to_pylist(), batch["label"].to_pylist(), strict=True)
                    known += [name for name, label in theirs if mine.get(name) == label]
    return np.array(known, dtype=object)
