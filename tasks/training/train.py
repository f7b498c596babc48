"""train: samples → checkpoints of a network for each fold, trained on all the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core.errors import BadInput
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import fold_of, load_cached
from tasks.dataset.targets import target_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.recorded_run import stages_of
from tasks.pipeline.step import step
from tasks.planning.canaries import indices_among
from tasks.planning.plan import Plan
from tasks.training.fit import fit
from tasks.training.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np


@step("train fold {fold}")
def train(run: Run, samples: Artefact, plan: Plan, fold: int, recipe: Recipe, base: Artefact) -> Artefact:
    """Train on every training sample outside ``fold`` (on all of them when there is one fold: in-sample gradients).

    Canaries of this fold's network bear their planted labels meanwhile. Leaves the checkpoints and
    ``dynamics/fold-<fold>.parquet``, what the training saw of each sample it was trained on. A checkpoint is a plain
    state dict, loaded with ``weights_only``; one for each of ``checkpoint_epochs``, or the last epoch's. With a base,
    its checkpoints are taken over as they are.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch

    from tasks.pipeline.schemas import DYNAMICS

    taken_over = _of_base(run, base, fold)
    if taken_over is not None:
        return taken_over
    inputs = load_cached(run, samples, "train")
    folds_of = fold_of(run, plan.folds, inputs.ids)
    rows = np.arange(len(folds_of)) if plan.count == 1 else np.flatnonzero(folds_of != fold)
    target = target_of(samples)
    _check_classes(inputs.labels.numpy()[rows], fold, len(target.classes))
    canary_labels = plan.canary_labels(run, target)
    canary_rows, canary = indices_among(inputs.ids, canary_labels.ids[canary_labels.networks[:, fold]])
    inputs.relabel(
        canary_rows, canary_labels.text.filter(pa.array(canary_labels.networks[:, fold])).take(pa.array(canary)), target
    )
    states: dict[int, dict[str, torch.Tensor]] = {epoch: {} for epoch in recipe.training.kept_epochs}
    dynamics: dict[str, torch.Tensor] = {}
    fit(
        recipe,
        payload_of(samples),
        target,
        inputs,
        rows,
        seed=recipe.training.seed + fold,
        label=f"train fold {fold}",
        states=states,
        dynamics=dynamics,
    )
    classes = pa.array(samples.facts["classes"], pa.string())
    columns = [
        pa.array(inputs.ids[rows], pa.string()),
        pa.array(np.full(len(rows), fold, np.int16)),
        pa.array(np.isin(rows, canary_rows)),
        classes.take(pa.array(inputs.labels.numpy()[rows])),
        *(pa.array(dynamics[name].numpy()[rows]) for name in DYNAMICS.names[4:]),
    ]
    with run.draft("checkpoints") as draft:
        for epoch, state in states.items():
            torch.save(state, draft.path(f"checkpoints/fold-{fold}-epoch-{epoch}.pt"))
        table = pa.table(columns, schema=DYNAMICS)
        pq.write_table(table, draft.path(f"dynamics/fold-{fold}.parquet", len(rows)), compression="zstd")
        return draft.commit(fold=fold, trained_on=len(rows), epochs=list(states))


def _of_base(run: Run, base: Artefact, fold: int) -> Artefact | None:
    """The base's checkpoints of the fold, taken over as they are; None without a base."""
    for checkpoint in stages_of(run, base, "checkpoints"):
        if checkpoint.facts["fold"] == fold:
            with run.draft("checkpoints") as draft:
                for file in checkpoint.files:
                    draft.adopt(file, run.path(checkpoint, file))
                return draft.commit(**checkpoint.facts)
    return None


def _check_classes(labels: np.ndarray, fold: int, classes: int) -> None:
    import numpy as np

    count = len(np.unique(labels))
    if count < min(2, classes):
        raise BadInput(
            where=f"fold {fold}",
            expected="at least two classes to train on",
            got=f"{count} in {len(labels):,} samples",
            do="Use fewer folds, or check whether groups and classes coincide.",
        )
