"""retrain: samples + flags → held-out predictions of each arm under each seed."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load_cached
from tasks.dataset.targets import Prediction, target_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.proof.arms import apply_arm, flagged_among
from tasks.proof.trials import Trial, Trials
from tasks.training.fit import predict
from tasks.training.fit_together import Trained, fit_together
from tasks.training.recipe import Recipe

if TYPE_CHECKING:
    import pyarrow as pa
    from torch import nn

    from tasks.dataset.samples import Inputs
    from tasks.dataset.targets import Target


@step("retrain {trials.name}")
def retrain(
    run: Run,
    samples: Artefact,
    trials: Trials,
    recipe: Recipe,
    split: Literal["test", "validation"] = "test",
) -> list[Artefact]:
    """Train from scratch on what each trial's arm keeps, and predict one split once, after the last epoch.

    All arms take the same number of optimisation steps, one seed gives all of them the same initialisation, and each is
    shuffled by the same rule. No other held-out split is opened: who chooses a budget by the validation split has not
    seen the test split. Networks so small that it pays are trained together (tasks/training/fit_together.py).

    Returns:
        The predictions of each trial, in the trials' order.
    """
    training = recipe.training
    inputs, held_out = load_cached(run, samples, "train"), load_cached(run, samples, split)
    target = target_of(samples)
    arms = _ArmInputs(run, inputs, target)
    members = [
        arms.of(trial, 1000 + training.seed + trial.seed, trials.label(index))
        for index, trial in enumerate(trials.members)
    ]
    steps = training.epochs * -(-len(inputs.ids) // training.batch_size)
    networks = fit_together(recipe, payload_of(samples), target, members, steps=steps)
    return [
        _predict(run, samples, trial, network, len(member.rows), recipe, split, held_out)
        for trial, member, network in zip(trials.members, members, networks, strict=True)
    ]


class _ArmInputs:
    """What arms train on; those that give the same labels share them."""

    def __init__(self, run: Run, inputs: Inputs, target: Target) -> None:
        self._run, self._inputs, self._target = run, inputs, target
        self._flags: dict[str, tuple[np.ndarray, np.ndarray, pa.Array, np.ndarray]] = {}
        self._relabelled: dict[str, Inputs] = {}

    def of(self, trial: Trial, seed: int, label: str) -> Trained:
        """What one trial's network is trained on, under which labels; ``label`` is what progress calls it."""
        import pyarrow as pa

        inputs, digest = self._inputs, trial.flags.digest
        if digest not in self._flags:
            self._flags[digest] = self._read(trial.flags)
        flagged, suggestions, text, differs = self._flags[digest]
        about = (inputs.ids, inputs.labels.numpy(), flagged, suggestions)
        mask, _ = apply_arm(*about, trial.arm, trial.seed, differs)
        # Of the flagged that arm keeps none but those under another label.
        relabel = np.flatnonzero(mask & flagged & (trial.arm == "relabelled"))
        if len(relabel) and digest not in self._relabelled:
            self._relabelled[digest] = inputs.with_own_labels()
            self._relabelled[digest].relabel(relabel, text.take(pa.array(relabel)), self._target)
        own = self._relabelled[digest] if len(relabel) else inputs
        return Trained(own, np.flatnonzero(mask), seed, label)

    def _read(self, flags: Artefact) -> tuple[np.ndarray, np.ndarray, pa.Array, np.ndarray]:
        """Which samples are flagged, what is suggested for them, and whether that is another label."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        inputs, target = self._inputs, self._target
        table = pq.read_table(self._run.path(flags), columns=["sample_id", "flag", "suggested_label"])
        flagged, suggestions, text = flagged_among(table, inputs.ids, target)
        differs = pc.fill_null(pc.not_equal(text, inputs.text(list(target.classes))), False)
        return flagged, suggestions, text, differs.to_numpy(zero_copy_only=False)


def _predict(
    run: Run,
    samples: Artefact,
    trial: Trial,
    network: nn.Module,
    trained_on: int,
    recipe: Recipe,
    split: str,
    held_out: Inputs,
) -> Artefact:
    import pyarrow.parquet as pq

    from tasks.core import devices

    target = target_of(samples)
    with devices.exclusive(recipe.training.device) as device:
        said = predict(network, held_out, device, target, recipe.training.objective(target))
    table = _table(held_out, said, samples.facts["classes"])
    credit = target.credit(table["label"], table["predicted"], table["p_predicted"].to_numpy())
    about = {"arm": trial.arm, "seed": trial.seed}
    with run.draft("predictions") as draft:
        path = draft.path(f"predictions/{trial.arm}-{trial.seed}.parquet", table.num_rows)
        pq.write_table(table, path, compression="zstd")
        return draft.commit(**about, trained_on=trained_on, split=split, credit=float(credit.mean()))


def _table(held_out: Inputs, said: Prediction, classes: list[str]) -> pa.Table:
    import pyarrow as pa

    from tasks.pipeline.schemas import PREDICTIONS

    columns = [pa.array(held_out.ids, pa.string()), held_out.text(classes), said.label, pa.array(said.p.numpy())]
    return pa.table(columns, schema=PREDICTIONS)
