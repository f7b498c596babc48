"""retrain: samples + flags → held-out predictions of one arm under one seed."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from tasks.dataset.payload import payload_of
from tasks.dataset.samples import load_cached
from tasks.dataset.targets import Prediction, target_of
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.step import step
from tasks.proof.arms import Arm, apply_arm, flagged_among
from tasks.training.fit import fit, predict
from tasks.training.recipe import Recipe

if TYPE_CHECKING:
    import pyarrow as pa

    from tasks.dataset.samples import Inputs


@step("retrain {arm}, seed {seed}")
def retrain(
    run: Run,
    samples: Artefact,
    flags: Artefact,
    arm: Arm,
    seed: int,
    recipe: Recipe,
    split: Literal["test", "validation"] = "test",
) -> Artefact:
    """Train from scratch on what the arm keeps, and predict one split once, after the last epoch.

    All arms take the same number of optimisation steps, one seed gives all of them the same initialisation, and each is
    shuffled by the same rule. No other held-out split is opened: who chooses a budget by the validation split has not
    seen the test split.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from tasks.core import devices

    training = recipe.training
    inputs, held_out = load_cached(run, samples, "train"), load_cached(run, samples, split)
    target = target_of(samples)
    flagged, suggestions, text = flagged_among(pq.read_table(run.path(flags)), inputs.ids, target)
    differs = pc.fill_null(pc.not_equal(text, inputs.text(list(target.classes))), False)
    about = (inputs.ids, inputs.labels.numpy(), flagged, suggestions)
    mask, _ = apply_arm(*about, arm, seed, differs.to_numpy(zero_copy_only=False))
    # Of the flagged that arm keeps none but those under another label.
    relabel = np.flatnonzero(mask & flagged & (arm == "relabelled"))
    inputs.relabel(relabel, text.take(pa.array(relabel)), target)
    rows = np.flatnonzero(mask)
    network = fit(
        recipe,
        payload_of(samples),
        target,
        inputs,
        rows,
        seed=1000 + training.seed + seed,
        label=f"retrain {arm}, seed {seed}",
        steps=training.epochs * -(-len(inputs.ids) // training.batch_size),
    )
    with devices.exclusive(training.device) as device:
        said = predict(network, held_out, device, target, training.objective(target))
    table = _table(held_out, said, samples.facts["classes"])
    credit = target.credit(table["label"], table["predicted"], table["p_predicted"].to_numpy())
    with run.draft("predictions") as draft:
        pq.write_table(table, draft.path(f"predictions/{arm}-{seed}.parquet", table.num_rows), compression="zstd")
        return draft.commit(arm=arm, seed=seed, trained_on=len(rows), split=split, credit=float(credit.mean()))


def _table(held_out: Inputs, said: Prediction, classes: list[str]) -> pa.Table:
    import pyarrow as pa

    from tasks.pipeline.schemas import PREDICTIONS

    columns = [pa.array(held_out.ids, pa.string()), held_out.text(classes), said.label, pa.array(said.p.numpy())]
    return pa.table(columns, schema=PREDICTIONS)
