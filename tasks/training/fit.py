"""The training loop of one network, shared by cross-fitting and by the proof, so that both mean the same."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

from tasks.core import devices
from tasks.core.errors import BadModel
from tasks.core.progress import Progress, check
from tasks.dataset.payload import Payload
from tasks.dataset.samples import Inputs
from tasks.dataset.targets import Prediction, Target
from tasks.pipeline.artefacts import Artefact, Run
from tasks.training.models import Model, Scale
from tasks.training.recipe import Recipe, Training

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.kernels.losses import Loss

# While transformers reads weights, initialisers do nothing and no weights are tied, in every thread.
_BUILD_LOCK = threading.RLock()
# Rows a forward pass takes at once when no gradient is kept, and tokens in them where they are text.
EVALUATION_BATCH, EVALUATION_TOKENS = 1024, 1 << 14


def build(model: Model, payload: Payload, outputs: int) -> nn.Module:
    """The model's network behind its standardisation, freshly initialised from torch's default generator."""
    from torch import nn

    from tasks.training.modules import BagOfTokens, Verbatim

    if payload.tokens is None:
        first: nn.Module = _scale(model.scale(payload), payload.shape)
    elif model.reads_tokens:
        first = Verbatim()
    else:
        first = BagOfTokens(payload.tokens.pad)
        payload = Payload(kind="array", columns=payload.columns, shape=(BagOfTokens.WIDTH,), dtype="float32")
    with _BUILD_LOCK:
        return nn.Sequential(OrderedDict(standardize=first, network=model.build(payload, outputs)))


def _scale(by: Scale, shape: tuple[int, ...]) -> nn.Module:
    from tasks.dataset.encoders.frozen_pictures import STATISTICS
    from tasks.training.modules import AsGiven, Standardize

    if by == "data":
        return Standardize(shape)
    return AsGiven(*STATISTICS["imagenet"]) if by == "imagenet" else AsGiven()


def fit(
    recipe: Recipe,
    payload: Payload,
    target: Target,
    inputs: Inputs,
    rows: np.ndarray,
    *,
    seed: int,
    label: str,
    steps: int | None = None,
    states: dict[int, dict[str, torch.Tensor]] | None = None,
    dynamics: dict[str, torch.Tensor] | None = None,
) -> nn.Module:
    """Train a network on the samples ``rows`` of ``inputs`` and return it in evaluation mode, on the CPU.

    AdamW or SGD under a learning rate of one cycle or one step (tasks/training/optimizer.py); shuffled without
    replacement by ``seed``. Rows that have weights count by them (tasks/dataset/row_weights.py). The same arguments
    give the same network.

    Args:
        rows: positions in ``inputs``.
        seed: of initialisation, order, dropout and augmentation.
        label: what the progress display calls this.
        steps: optimisation steps in all; default: epochs × batches. Arms that are compared get the same number.
        states: epoch → None, filled with the network's state after that epoch; training stops after the last of them,
            and there is none where that is 0.
        dynamics: filled with what the steps saw of each of ``inputs`` (tasks/kernels/dynamics.py).

    Raises:
        BadModel: the network does not give the target's outputs, or not finite ones.
    """
    import torch

    training = recipe.training
    with (
        devices.exclusive(training.device) as device,
        torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []),
    ):
        torch.manual_seed(seed)
        network = initialised(recipe.model, payload, target, inputs, rows, device)
        # Convolutions are 1.2 to 1.7 times faster on channels-last weights, also on a CPU.
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        _optimise(
            network, inputs, rows, training, training.objective(target), device, seed, label, steps, states, dynamics
        )
        network.to(memory_format=torch.contiguous_format)  # pyright: ignore[reportCallIssue]
        return network.cpu().eval()


def initialised(
    model: Model, payload: Payload, target: Target, inputs: Inputs, rows: np.ndarray, device: torch.device
) -> nn.Module:
    """A network before its first step, on the device: standardised by the samples that it is trained on, and checked.

    Raises:
        BadModel: it does not give the target's outputs.
    """
    import torch

    network = build(model, payload, target.outputs)
    standardize: Any = network[0]  # type: ignore[index]
    standardize.fit(inputs.x, torch.from_numpy(rows))
    network.to(device)
    check_outputs(network, inputs.x[torch.from_numpy(rows[:2])].to(device), target.outputs)
    return network


def check_outputs(network: nn.Module, x: torch.Tensor, width: int) -> None:
    """Refuse a network that does not give ``width`` logits for each of ``x``; leaves it in evaluation mode.

    Raises:
        BadModel: its output is something else.
    """
    import torch

    network.eval()
    with torch.no_grad():
        outputs = network(x)
    if not isinstance(outputs, torch.Tensor) or outputs.shape != (len(x), width):
        got = tuple(outputs.shape) if isinstance(outputs, torch.Tensor) else type(outputs).__name__
        raise BadModel(
            where="the network's output",
            expected=f"a tensor of {len(x)} × {width} logits for a batch of {len(x)}",
            got=str(got),
            do="Let the network end in a Linear layer with one output for each class (one in all for a number).",
        )


def _optimise(
    network: nn.Module,
    inputs: Inputs,
    rows: np.ndarray,
    training: Training,
    objective: Loss,
    device: torch.device,
    seed: int,
    label: str,
    steps: int | None,
    states: dict[int, dict[str, torch.Tensor]] | None,
    dynamics: dict[str, torch.Tensor] | None,
) -> None:
    import torch

    from tasks.dataset.row_weights import scaled_weights
    from tasks.kernels.augment import crop_flip
    from tasks.kernels.dynamics import Dynamics
    from tasks.training.optimizer import forward_pass, learning_rate, optimizer_of, resident, set_rate, step_down

    generator = torch.Generator().manual_seed(seed)
    members = torch.from_numpy(rows)
    per_epoch = -(-len(rows) // training.batch_size)
    steps = steps or per_epoch * training.epochs
    last = min(steps, per_epoch * max(states)) if states else steps
    if states is not None and 0 in states:
        states[0] = state_of(network.state_dict())
    optimizer = optimizer_of(list(network.parameters()), training)
    # What is compiled is compiled for one shape.
    inputs = replace(inputs, x=resident(inputs.x, device), lengths=None if training.compile else inputs.lengths)
    usual = min(training.batch_size, len(rows))
    augments = training.augment == "crop_flip" and inputs.x.dim() == 4
    batches = islice(endless_batches(members, training.batch_size, generator), last)
    recorder = Dynamics(len(inputs.ids), last, per_epoch, device) if dynamics is not None else None
    weights, mixed = scaled_weights(inputs, rows), training.precision == "bf16"
    network.train()
    count, total = 0, torch.zeros((), device=device)
    with Progress(label, -(-last // per_epoch)) as progress, forward_pass(network, training, usual) as forward:
        for batch in batches:
            check()
            x, y = inputs.batch(batch).to(device), inputs.y[batch].to(device)
            if augments:
                x = crop_flip(x, pad=training.augment_pad, generator=generator)
            set_rate(optimizer, learning_rate(training, count, steps))
            counts = None if weights is None else weights[batch].to(device)
            outputs, losses, loss = step_down(forward, optimizer, objective, x, y, counts, mixed=mixed)
            if recorder is not None:
                recorder.note(batch.to(device), outputs, y, losses, objective)
            total += loss
            count += 1
            if count % per_epoch == 0 or count == last:
                # The only synchronisation with the device here: once an epoch.
                progress.step(f"loss {float(total) / (count % per_epoch or per_epoch):.3f}")
                total.zero_()
                epoch = -(-count // per_epoch)
                if states is not None and epoch in states:
                    states[epoch] = state_of(network.state_dict())
    if recorder is not None and dynamics is not None:
        dynamics.update(recorder.means())
    check_weights(network, label)


def check_weights(network: nn.Module, label: str) -> None:
    """Refuse what a training that diverged has left.

    Raises:
        BadModel: a weight is NaN or infinite.
    """
    import torch

    if not all(torch.isfinite(p).all() for p in network.parameters()):
        raise BadModel(
            where=f"training ({label})",
            expected="finite weights",
            got="NaN or infinity: the training diverged",
            do="Lower --training.lr, or use --training.optimizer adamw.",
        )


def state_of(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A copy of a state, on the CPU and in the usual memory layout."""
    from torch import contiguous_format as usual

    return {name: value.detach().to("cpu", copy=True, memory_format=usual) for name, value in state.items()}


def endless_batches(members: torch.Tensor, size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Batches without end, shuffled anew each epoch. BatchNorm cannot take a batch of one: the last two then share."""
    import torch

    while True:
        order = members[torch.randperm(len(members), generator=generator)]
        batches = order.split(size)
        if size > 1 and len(batches) > 1 and len(batches[-1]) == 1:
            rest = torch.cat([batches[-2], batches[-1]])
            batches = (*batches[:-2], *(rest.chunk(2) if len(rest) > 3 else [rest]))
        yield from batches


def predict(network: nn.Module, inputs: Inputs, device: torch.device, target: Target, objective: Loss) -> Prediction:
    """The label that the network gives each sample, in evaluation mode, and how likely it thinks that is."""
    return target.said(outputs_of(network, inputs, device), objective)


def outputs_of(network: nn.Module, inputs: Inputs, device: torch.device) -> torch.Tensor:
    """The outputs on each sample, n × k float32 on the CPU, in evaluation mode."""
    import torch

    network.to(device).eval()
    size = EVALUATION_BATCH
    if inputs.lengths is not None:
        size = max(1, min(size, EVALUATION_TOKENS // inputs.x.shape[-1]))
    order = torch.from_numpy(inputs.by_length(np.arange(len(inputs.ids))))
    with torch.inference_mode():
        outputs = torch.cat([network(inputs.batch(rows).to(device)).float().cpu() for rows in order.split(size)])
        return torch.empty_like(outputs).index_copy_(0, order, outputs)


def load_networks(run: Run, checkpoint: Artefact, model: Model, payload: Payload, outputs: int) -> list[nn.Module]:
    """The networks of one fold, by epoch, in evaluation mode on the CPU."""
    import torch

    networks = []
    for path in run.paths(checkpoint, ".pt"):
        networks.append(build(model, payload, outputs).eval())
        networks[-1].load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    return networks
