"""extract: a shard of samples + the checkpoints → gradients/00017.arrow, each sample by the model that never saw it."""

from __future__ import annotations

from pathlib import PurePath
from typing import TYPE_CHECKING

from tasks.artefacts import Artefact, Run
from tasks.devices import Device, exclusive
from tasks.fitting import EVALUATION_BATCH, build
from tasks.gradients import Gradient
from tasks.models import Model
from tasks.progress import check
from tasks.samples import Inputs, load, payload_of
from tasks.step import step

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    import torch

    from tasks.kernels.head import HeadGradient


@step("extract {samples.files[0].name}")
def extract(
    run: Run,
    samples: Artefact,
    folds: Artefact,
    checkpoints: list[Artefact],
    model: Model,
    gradient: Gradient,
    device: Device,
) -> Artefact:
    """Gradients of one shard's training samples: evaluation mode, no augmentation, the last epoch's weights.

    Leaves ``gradients/<shard>.arrow`` (scalars and both factors) and ``gradients/<shard>.parquet`` (scalars).
    """
    import numpy as np
    import pyarrow.parquet as pq

    from tasks.shards import write_shard

    inputs = load(run, samples, "train")
    held_out = dict(zip(*pq.read_table(run.path(folds)).to_pydict().values(), strict=True))
    fold = np.array([held_out[name] for name in inputs.ids], np.int16)
    columns: dict[str, np.ndarray] = {}
    with exclusive(device) as on:
        for checkpoint in checkpoints:
            rows = np.flatnonzero(fold == checkpoint.facts["fold"])
            network = _network(run, samples, checkpoint, model).to(on)
            _take(gradient, network, inputs, rows, on, columns)
    table = _table(inputs, fold, columns, samples.facts["classes"])
    name = PurePath(samples.files[0].name).stem
    with run.draft("gradients") as draft:
        arrow = draft.path(f"gradients/{name}.arrow", table.num_rows)
        write_shard(table, arrow, draft.path(f"gradients/{name}.parquet", table.num_rows))
        return draft.commit(gradient=gradient.model_dump(mode="json"), checkpoints=[c.digest for c in checkpoints])


def _network(run: Run, samples: Artefact, checkpoint: Artefact, model: Model) -> torch.nn.Module:
    import torch

    network = build(model, payload_of(samples), len(samples.facts["classes"]))
    network.load_state_dict(torch.load(run.path(checkpoint), map_location="cpu", weights_only=True))
    return network.eval()


def _take(
    gradient: Gradient,
    network: torch.nn.Module,
    inputs: Inputs,
    rows: np.ndarray,
    device: torch.device,
    columns: dict[str, np.ndarray],
) -> None:
    """Fill the rows of every column; the host waits for the device once a batch, when the results are copied."""
    import numpy as np
    import torch

    for first in range(0, len(rows), EVALUATION_BATCH):
        check()
        batch = rows[first : first + EVALUATION_BATCH]
        x, y = inputs.x[torch.from_numpy(batch)].to(device), inputs.labels[torch.from_numpy(batch)].to(device)
        taken = gradient.take(network, x, y)
        for name, value in _with_norms(taken).items():
            if name not in columns:
                kind = np.int64 if name == "predicted" else np.float32
                columns[name] = np.empty((len(inputs.ids), *value.shape[1:]), kind)
            columns[name][batch] = value.cpu().numpy()


def _with_norms(taken: HeadGradient) -> dict[str, torch.Tensor]:
    from tasks.kernels.norms import rank_one_norms

    l1, l2 = rank_one_norms(taken.residual, taken.features)
    return taken._asdict() | {"l1": l1, "l2": l2}


def _table(inputs: Inputs, fold: np.ndarray, columns: dict[str, np.ndarray], classes: list[str]) -> pa.Table:
    import pyarrow as pa

    from tasks.schemas import gradient_shard

    factors = [columns["residual"], columns["features"]]
    schema = gradient_shard(factors[0].shape[1], factors[1].shape[1])
    names = pa.array(classes, pa.string())
    arrays = {
        "sample_id": pa.array(inputs.ids, pa.string()),
        "fold": pa.array(fold),
        "predicted": names.take(pa.array(columns["predicted"])),
    } | {
        name: pa.FixedSizeListArray.from_arrays(pa.array(columns[name].ravel()), columns[name].shape[1])
        for name in ("residual", "features")
    }
    ready = [arrays[name] if name in arrays else pa.array(columns[name]) for name in schema.names]
    return pa.table(ready, schema=schema)
