"""retrain: samples + flags → test predictions of one arm under one seed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from tasks.artefacts import Artefact, Run
from tasks.fitting import Training, fit, predict
from tasks.models import Model
from tasks.parts import Part
from tasks.samples import Inputs, check_split, load, payload_of
from tasks.step import step

if TYPE_CHECKING:
    import numpy as np

Arm = Literal["untouched", "cleaned", "random"]
ARMS: tuple[Arm, ...] = ("untouched", "cleaned", "random")


class Verification(Part):
    """How a cleaning is put to the test."""

    seeds: int = Field(3, ge=1, description="Retrainings of each arm; the arms share their seeds.")

    def pairs(self) -> tuple[list[Arm], list[int]]:
        """Every arm under every seed, as two lists of equal length."""
        pairs = [(arm, seed) for seed in range(self.seeds) for arm in ARMS]
        return [arm for arm, _ in pairs], [seed for _, seed in pairs]


@step("retrain {arm}, seed {seed}")
def retrain(
    run: Run, samples: Artefact, flags: Artefact, arm: Arm, seed: int, model: Model, training: Training
) -> Artefact:
    """Train from scratch on what the arm keeps, and predict the test split once, after the last epoch.

    ``untouched`` keeps everything, ``cleaned`` drops the flagged, ``random`` drops as many of each class at random:
    the control that tells cleaning from merely having less data. All arms take the same number of optimisation steps,
    and one seed gives all of them the same initialisation.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tasks import devices
    from tasks.schemas import PREDICTIONS

    check_split(samples, "test")
    inputs, test = load(run, samples, "train"), load(run, samples, "test")
    rows = np.flatnonzero(~_dropped(run, inputs, flags, arm, seed))
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
        predicted, p = predict(network, test.x, device)
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


def _dropped(run: Run, inputs: Inputs, flags: Artefact, arm: Arm, seed: int) -> np.ndarray:
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    table = pq.read_table(run.path(flags), columns=["sample_id", "flag"])
    flagged = np.isin(inputs.ids, np.asarray(table.filter(pc.field("flag"))["sample_id"].to_pylist(), dtype=object))
    if arm == "untouched":
        return np.zeros(len(flagged), bool)
    if arm == "cleaned":
        return flagged
    # Drawn in the order of sample ids: the same draw however the rows are ordered.
    order = np.argsort(inputs.ids, kind="stable")
    labels = inputs.labels.numpy()
    generator = np.random.default_rng([seed, 7])
    dropped = np.zeros(len(flagged), bool)
    for label in np.unique(labels):
        members = order[labels[order] == label]
        dropped[generator.choice(members, int(flagged[members].sum()), replace=False)] = True
    return dropped
