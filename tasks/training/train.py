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
from tasks.training.fit_together import Trained, fit_together
from tasks.training.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    import torch


@step("train folds {folds}")
def train(run: Run, samples: Artefact, plan: Plan, folds: list[int], recipe: Recipe, base: Artefact) -> list[Artefact]:
    """Train each fold's network on every training sample outside it (of one fold on all: in-sample gradients).

    Canaries of a fold's network bear their planted labels meanwhile. Leaves the checkpoints and
    ``dynamics/fold-<fold>.parquet``, what the training saw of each sample it was trained on. A checkpoint is a plain
    state dict, loaded with ``weights_only``; one for each of ``checkpoint_epochs``, or the last epoch's. With a base,
    its checkpoints are taken over as they are. Networks so small that it pays are trained together.

    Returns:
        The checkpoints of each fold, in the order of ``folds``.
    """
    taken_over = {fold: checkpoint for fold in folds if (checkpoint := _of_base(run, base, fold))}
    wanted = [fold for fold in folds if fold not in taken_over]
    if wanted:
        networks = _FoldInputs(run, samples, plan, recipe)
        members = [networks.of(fold) for fold in wanted]
        fit_together(recipe, payload_of(samples), target_of(samples), members)
        kept = {fold: networks.keep(fold, member) for fold, member in zip(wanted, members, strict=True)}
        taken_over |= kept
    return [taken_over[fold] for fold in folds]


class _FoldInputs:
    """What the networks of folds are trained on, and what is kept of them."""

    def __init__(self, run: Run, samples: Artefact, plan: Plan, recipe: Recipe) -> None:
        self._run, self._samples, self._plan, self._training = run, samples, plan, recipe.training
        self._inputs = load_cached(run, samples, "train")
        self._folds = fold_of(run, plan.folds, self._inputs.ids)
        self._target = target_of(samples)
        self._canaries = plan.canary_labels(run, self._target)

    def of(self, fold: int) -> Trained:
        import numpy as np
        import pyarrow as pa

        inputs, plan, planted = self._inputs, self._plan, self._canaries
        rows = np.arange(len(self._folds)) if plan.count == 1 else np.flatnonzero(self._folds != fold)
        _check_classes(inputs.labels.numpy()[rows], fold, len(self._target.classes))
        canary_rows, canary = self._canary_rows(fold)
        if len(canary_rows):
            inputs = inputs.with_own_labels()
            text = planted.text.filter(pa.array(planted.networks[:, fold])).take(pa.array(canary))
            inputs.relabel(canary_rows, text, self._target)
        states: dict[int, dict[str, torch.Tensor]] = {epoch: {} for epoch in self._training.kept_epochs}
        return Trained(inputs, rows, self._training.seed + fold, f"train fold {fold}", states, {})

    def _canary_rows(self, fold: int) -> tuple[np.ndarray, np.ndarray]:
        """(positions among the samples, and among the fold's canaries, of those that are planted)."""
        return indices_among(self._inputs.ids, self._canaries.ids[self._canaries.networks[:, fold]])

    def keep(self, fold: int, network: Trained) -> Artefact:
        """The checkpoints and the dynamics of a trained network."""
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq
        import torch

        from tasks.pipeline.schemas import DYNAMICS

        assert network.states is not None and network.dynamics is not None  # noqa: S101, PT018  see ``of``
        rows, dynamics = network.rows, network.dynamics
        classes = pa.array(self._samples.facts["classes"], pa.string())
        columns = [
            pa.array(self._inputs.ids[rows], pa.string()),
            pa.array(np.full(len(rows), fold, np.int16)),
            pa.array(np.isin(rows, self._canary_rows(fold)[0])),
            classes.take(pa.array(network.inputs.labels.numpy()[rows])),
            *(pa.array(dynamics[name].numpy()[rows]) for name in DYNAMICS.names[4:]),
        ]
        with self._run.draft("checkpoints") as draft:
            for epoch, state in network.states.items():
                torch.save(state, draft.path(f"checkpoints/fold-{fold}-epoch-{epoch}.pt"))
            table = pa.table(columns, schema=DYNAMICS)
            pq.write_table(table, draft.path(f"dynamics/fold-{fold}.parquet", len(rows)), compression="zstd")
            return draft.commit(fold=fold, trained_on=len(rows), epochs=list(network.states))


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
