"""plan: samples → a cross-fitting fold for each; and a look at the network before any time is spent on it."""

# pyright: reportAttributeAccessIssue=false
# pyarrow.compute makes its functions at import time; pyright cannot see them.

from __future__ import annotations

from tasks.artefacts import Artefact, Run
from tasks.devices import exclusive
from tasks.errors import BadConfig
from tasks.fitting import build
from tasks.gradients import Gradient
from tasks.models import Model
from tasks.samples import check_split, payload_of, table_of
from tasks.schemas import FOLDS
from tasks.step import step


@step("plan {folds} folds")
def plan(run: Run, samples: Artefact, folds: int, model: Model, gradient: Gradient) -> Artefact:
    """Assign folds to the training samples, stratified by label; duplicates and groups stay together.

    The network is built once and refused here if the gradient kind cannot serve it.

    Raises:
        BadModel: the network does not fit the inputs or the gradient kind.
        BadInput: nothing to train on, or nothing to verify with.
        BadConfig: more folds than the data allows.
    """
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq
    import torch

    from tasks.identity import inseparable
    from tasks.kernels.folds import assign_folds

    payload, classes = payload_of(samples), samples.facts["classes"]
    for split in ("train", "test"):
        check_split(samples, split)
    with exclusive("cpu"), torch.random.fork_rng(devices=[]):
        gradient.check(build(model, payload, len(classes)), torch.zeros(2, *payload.shape))
    table = table_of(run, samples, ["sample_id", "split", "label", "group"])
    table = table.filter(pc.equal(table["split"], "train"))
    ids = table["sample_id"].to_pylist()
    units = inseparable(ids, table["group"].to_pylist())
    index = {label: i for i, label in enumerate(classes)}
    strata = np.array([index[label] for label in table["label"].to_pylist()], np.int64)
    distinct = len(np.unique(units))
    if folds > distinct:
        raise BadConfig(
            where="option folds",
            expected=f"at most {distinct}, one for each distinct training sample or group",
            got=str(folds),
            do="Use fewer folds, or 1 for in-sample gradients.",
        )
    fold = assign_folds(units, strata, folds)
    with run.draft("folds") as draft:
        out = pa.table([pa.array(ids, pa.string()), pa.array(fold, pa.int16())], schema=FOLDS)
        pq.write_table(out, draft.path("folds.parquet", out.num_rows), compression="zstd")
        return draft.commit(folds=folds)
