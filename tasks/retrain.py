"""retrain: samples + flags → test predictions of one arm under one seed."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from tasks.arms import Arm, dropped
from tasks.artefacts import Artefact, Run
from tasks.fitting import Training, fit, predict
from tasks.models import Model
from tasks.samples import load, payload_of
from tasks.step import step


@step("retrain {arm}, seed {seed}")
def retrain(
    run: Run, samples: Artefact, flags: Artefact, arm: Arm, seed: int, model: Model, training: Training
) -> Artefact:
    """Train from scratch on what the arm keeps, and predict the test split once, after the last epoch.

    All arms take the same number of optimisation steps, and one seed gives all of them the same initialisation.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from tasks import devices
    from tasks.schemas import PREDICTIONS

    inputs, test = load(run, samples, "train"), load(run, samples, "test")
    table = pq.read_table(run.path(flags), columns=["sample_id", "flag"])
    flagged = set(table.filter(pc.field("flag"))["sample_id"].to_pylist())
    mask = np.array([name in flagged for name in inputs.ids], bool)
    rows = np.flatnonzero(~dropped(inputs.ids, inputs.labels.numpy(), mask, arm, seed))
    classes = samples.facts["classes"]
    network = fit(
        model,
        payload_of(samples),
        len(classes),
        inputs,
        rows,
        training,
        seed=1000 + training.seed + seed,
        label=f"retrain {arm}, seed {seed}",
        steps=training.epochs * -(-len(inputs.ids) // training.batch_size),
    )
    with devices.exclusive(training.device) as device:
        predicted, p = predict(network, test.x, device, training.objective)
    names = pa.array(classes, pa.string())
    table = pa.table(
        [
            pa.array(test.ids, pa.string()),
            names.take(pa.array(test.labels.numpy())),
            names.take(pa.array(predicted.numpy())),
            pa.array(p.numpy()),
        ],
        schema=PREDICTIONS,
    )
    with run.draft("predictions") as draft:
        pq.write_table(table, draft.path(f"predictions/{arm}-{seed}.parquet", table.num_rows), compression="zstd")
        return draft.commit(arm=arm, seed=seed, trained_on=len(rows))
