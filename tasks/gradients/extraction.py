"""Gradients of one shard of samples: how large a batch is, and what is stored of it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tasks.core.errors import BadModel
from tasks.core.memory import is_out_of_memory
from tasks.core.progress import LOGGER, check
from tasks.dataset.payload import payload_of
from tasks.dataset.samples import Inputs
from tasks.dataset.targets import Target, target_of
from tasks.gradients.kinds import Gradient, Taker
from tasks.gradients.kinds.projected import layer_name
from tasks.gradients.residuals import SOURCES, sources_of
from tasks.gradients.shard_metadata import ShardMetadata
from tasks.gradients.shards import ShardWriter
from tasks.pipeline.artefacts import Artefact, Run
from tasks.pipeline.schemas import gradient_shard
from tasks.training.fit import build, load_networks
from tasks.training.recipe import Recipe

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.kernels.losses import Loss
    from tasks.kernels.transfer import HostCopy

_LARGEST_BATCH = 4096
# Batches that must go well before a size that ran out of memory is tried again.
_PATIENCE = 8


class BatchSize:
    """How many samples are taken at a time: halved when memory runs out, doubled up to ``target`` after a while."""

    def __init__(self, target: int) -> None:
        self.target = self.size = target
        self._well = 0

    def went_well(self) -> None:
        """One more batch came back."""
        self._well += 1
        if self._well >= _PATIENCE and self.size < self.target:
            self.size, self._well = min(self.target, 2 * self.size), 0

    def ran_out(self, error: BaseException) -> None:
        """Memory did not suffice.

        Raises:
            BadModel: not even for one sample.
        """
        if self.size == 1:
            raise BadModel(
                where="extract",
                expected="memory for the gradient of one sample",
                got=str(error).partition("\n")[0],
                do="Project the gradients, choose fewer layers, or a larger device.",
            ) from error
        self.size, self._well = self.size // 2, 0
        LOGGER.warning("out of memory; going on with batches of %d", self.size)


def batch_rows(gradient: Gradient, network: nn.Module, example: torch.Tensor, memory: int) -> int:
    """The batch size: as asked for, or the largest power of two that an eighth of ``memory`` holds (bytes).

    Counted and not tried out: the outputs of all layers of one sample, thrice (they, their gradients, and temporaries),
    and what the gradient kind itself makes. So it depends on the network and the options alone, and a run that goes on
    after a kill writes the same bytes as one that was never killed.
    """
    import torch

    if gradient.batch_size is not None:
        return gradient.batch_size
    sizes: list[int] = []

    def note(_module: nn.Module, _inputs: object, output: object) -> None:
        if isinstance(output, torch.Tensor):
            sizes.append(output.numel() * output.element_size())

    hooks = [m.register_forward_hook(note) for m in network.modules() if not list(m.children())]
    try:
        with torch.no_grad():
            network(example[:1])
    finally:
        for hook in hooks:
            hook.remove()
    sample = 3 * sum(sizes) + 4 * gradient.values(network) + example[:1].numel() * example.element_size()
    count = max(1, int(_budget(memory, example.device)) // max(1, sample))
    return min(_LARGEST_BATCH, 1 << (count.bit_length() - 1))


def _budget(memory: int, device: torch.device) -> float:
    """Bytes a batch may take: an eighth of the run's, as several tasks extract at a time; or a quarter of a CUDA device
    (of all it has, not of what is free: that would not be the same again)."""
    import torch

    return torch.cuda.get_device_properties(device).total_memory / 4 if device.type == "cuda" else memory / 8


def take_batches(
    takers: list[Taker],
    gradient: Gradient,
    inputs: Inputs,
    rows: np.ndarray,
    size: BatchSize,
    device: torch.device,
    loss: Loss,
    target: Target,
) -> Iterator[tuple[np.ndarray, dict[str, torch.Tensor]]]:
    """(rows, their columns on the host) in batches; the device already works on the next while one is handed out.

    Args:
        takers: one for each checkpoint; what is said of loss and probabilities is the last's.
        gradient: how their gradients are joined.
        inputs: the shard's samples.
        rows: which of them.
        size: of the batches.
        device: where the networks are.
        loss: ℓ.
        target: what the labels say.
    """
    import torch

    from tasks.kernels.checkpoints import combine
    from tasks.kernels.transfer import HostCopy, send

    pending: tuple[np.ndarray, HostCopy] | None = None
    at, rows = 0, inputs.by_length(rows)
    while at < len(rows):
        check()
        batch = rows[at : at + size.size]
        try:
            x = send(inputs.batch(torch.from_numpy(batch)), device)
            y = send(inputs.y[torch.from_numpy(batch)], device)
            each = [take(x, y) for take in takers]
            combination = combine(
                [one.columns for one in each], [one.squares for one in each], gradient.checkpoints, unit=gradient.unit
            )
            outcome = target.outcome(each[-1].logits, y, loss)
            columns = outcome._asdict() | combination.columns | {"l1": combination.l1, "l2": combination.l2}
            columns["logits"] = each[-1].logits.float()
            if columns.pop("residual", None) is not None:
                columns |= sources_of([one.logits for one in each], y, loss)
            if combination.layer_norms is not None:
                columns["layer_norms"] = combination.layer_norms
            transfer = HostCopy(columns)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            size.ran_out(error)
            if device.type == "cuda":
                torch.cuda.empty_cache()
            continue
        size.went_well()
        at += len(batch)
        if pending is not None:
            yield pending[0], pending[1].wait()
        pending = (batch, transfer)
    if pending is not None:
        yield pending[0], pending[1].wait()


def record_batch(
    inputs: Inputs,
    rows: np.ndarray,
    fold: int,
    columns: dict[str, torch.Tensor],
    target: Target,
    metadata: ShardMetadata,
) -> pa.RecordBatch:
    """One batch as it is stored.

    Raises:
        BadModel: a gradient is not finite.
    """
    values = {name: value.numpy() for name, value in columns.items()}
    if not np.isfinite(values["l2"]).all():
        worst = inputs.ids[rows[int(np.argmin(np.isfinite(values["l2"])))]]
        raise BadModel(
            where=f"the gradient of sample {worst}",
            expected="finite values",
            got="NaN or infinity",
            do="If precision is fp16 use bf16 or fp32; else the sample's inputs or the network's weights overflow.",
        )
    vectors = {name: values[name] for name in ("gradient", "features", *SOURCES) if name in values}
    store, kind = metadata.gradient["store"], values.get("target", np.empty(0, np.int32)).dtype.name
    widths = {name: column.shape[1] for name, column in vectors.items()}
    schema = metadata.on(gradient_shard(widths, len(metadata.layers), store, kind))
    arrays: dict[str, pa.Array] = {
        "sample_id": pa.array(inputs.ids[rows], pa.string()),
        "fold": pa.array(np.full(len(rows), fold, np.int16)),
        "predicted": target.words(values["predicted"]),
    }
    for name in schema.names:
        if name in ("layer_norms", *SOURCES):
            arrays[name] = _fixed_size_lists(values[name])
        elif name in vectors:
            arrays[name] = _fixed_size_lists(_cast_to_store(vectors[name], store, inputs.ids[rows]))
        elif name not in arrays:
            arrays[name] = pa.array(values[name])
    return pa.RecordBatch.from_arrays([arrays[name] for name in schema.names], schema=schema)


def _cast_to_store(values: np.ndarray, store: str, ids: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        result = values.astype(store, copy=False)
    if not np.isfinite(result).all():
        raise BadModel(
            where=f"the gradient of sample {ids[int(np.argmin(np.isfinite(result).all(1)))]}",
            expected=f"values that {store} can hold",
            got=f"one as large as {np.nanmax(np.abs(values)):.3g}",
            do="Use --gradient.store float32.",
        )
    return result


def _fixed_size_lists(values: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), values.shape[1])


class Shard:
    """What is the same for all samples of a shard, and how their gradients are written.

    Args:
        run: whose lake.
        samples: the shard.
        checkpoints: one for each fold.
        recipe: by which they were made.
        gradient: how it is taken.
        dataset: how many samples the whole dataset has.
    """

    def __init__(
        self,
        run: Run,
        samples: Artefact,
        checkpoints: list[Artefact],
        recipe: Recipe,
        gradient: Gradient,
        dataset: int,
    ) -> None:
        self.run, self.samples, self.model, self.gradient = run, samples, recipe.model, gradient
        self.dataset, self.target = dataset, target_of(samples)
        self.loss = loss = recipe.training.objective(self.target)
        self.by_fold = {checkpoint.facts["fold"]: checkpoint for checkpoint in checkpoints}
        self.metadata = metadata_of(gradient, loss, checkpoints, gradient.layers(self._blank()))

    @property
    def facts(self) -> dict[str, Any]:
        """Of the artefact."""
        return {
            "gradient": self.metadata.gradient,
            "loss": self.metadata.loss,
            "checkpoints": self.metadata.checkpoints,
        }

    def take(self, writer: ShardWriter, inputs: Inputs, rows: np.ndarray, fold: int, device: torch.device) -> None:
        """Write the gradients of the samples ``rows`` by the networks of one fold."""
        networks = [network.to(device) for network in self._networks(fold)]
        example = inputs.x[:1].to(device)
        takers = [self.gradient.taker(network, example, self.loss, self.dataset) for network in networks]
        size = BatchSize(batch_rows(self.gradient, networks[0], self.model.largest(example), self.run.memory))
        for of_batch, columns in take_batches(
            takers, self.gradient, inputs, rows, size, device, self.loss, self.target
        ):
            writer.write(record_batch(inputs, of_batch, fold, columns, self.target, self.metadata))

    def _blank(self) -> nn.Module:
        return build(self.model, payload_of(self.samples), self.target.outputs).eval()

    def _networks(self, fold: int) -> list[nn.Module]:
        payload = payload_of(self.samples)
        return load_networks(self.run, self.by_fold[fold], self.model, payload, self.target.outputs)


def metadata_of(gradient: Gradient, loss: Loss, checkpoints: list[Artefact], layers: list[str]) -> ShardMetadata:
    """What the shards of one run have in common."""
    options = gradient.model_dump(mode="json", exclude={"batch_size"})
    if not gradient.unit:
        options.pop("normalize", None)  # as shards told it before there was the option
    return ShardMetadata(
        gradient=options,
        loss=(loss.kind, loss.smoothing),
        checkpoints=tuple(checkpoint.digest for checkpoint in checkpoints),
        epochs=tuple(checkpoints[0].facts["epochs"]),
        layers=tuple(layer_name(name) for name in layers),
        joined="sum" if gradient.checkpoints == "average" else "stack",
    )
