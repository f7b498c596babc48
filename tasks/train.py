"""train: samples → a checkpoint for each fold, trained on all the others."""

from __future__ import annotations

from tasks.artefacts import Artefact, Run
from tasks.errors import BadInput
from tasks.fitting import Training, fit
from tasks.models import Model
from tasks.samples import load, payload_of
from tasks.step import step


@step("train fold {fold}")
def train(run: Run, samples: Artefact, folds: Artefact, fold: int, model: Model, training: Training) -> Artefact:
    """Train on every training sample outside ``fold`` (on all of them when there is one fold: in-sample gradients).

    The checkpoint is a plain state dict, loaded with ``weights_only``; with ``early_epoch`` it is that epoch's.
    """
    import numpy as np
    import pyarrow.parquet as pq
    import torch

    inputs = load(run, samples, "train")
    held_out = dict(zip(*pq.read_table(run.path(folds)).to_pydict().values(), strict=True))
    fold_of = np.array([held_out[name] for name in inputs.ids])
    rows = np.arange(len(fold_of)) if folds.facts["folds"] == 1 else np.flatnonzero(fold_of != fold)
    seen = len(np.unique(inputs.labels.numpy()[rows]))
    if seen < 2:
        raise BadInput(
            where=f"fold {fold}",
            expected="at least two classes to train on",
            got=f"{seen} in {len(rows):,} samples",
            do="Use fewer folds, or check whether groups and classes coincide.",
        )
    network = fit(
        model,
        payload_of(samples),
        len(samples.facts["classes"]),
        inputs,
        rows,
        training,
        seed=training.seed + fold,
        label=f"train fold {fold}",
        stop_after=training.early_epoch,
    )
    with run.draft("checkpoints") as draft:
        torch.save(network.state_dict(), draft.path(f"checkpoints/fold-{fold}.pt"))
        return draft.commit(fold=fold, trained_on=len(rows))
