"""Networks of one recipe trained together, where they are so small that a step alone is mostly its dispatch."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice, pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from tasks.core import devices
from tasks.core.progress import Progress, check
from tasks.dataset.payload import Payload
from tasks.dataset.samples import Inputs
from tasks.dataset.targets import Target
from tasks.training.fit import build, check_weights, endless_batches, fit, initialised, state_of
from tasks.training.recipe import Recipe, Training

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.kernels.losses import Loss
    from tasks.kernels.stacked import Stack

T = TypeVar("T")

# Beyond this many parameters a step is arithmetic and no dispatch, and what a stack keeps of each leaves the
# processor's cache: of perceptrons with 5,634 · 9,610 · 34,186 · 59,018 · 257,418 a step of 20 together takes .23 · .32
# · .63 · .78 · 1.01 of the time of 20 alone, on one thread.
_PARAMETERS = 1 << 16
_NETWORKS, _BATCH_BYTES = 32, 1 << 28


class Trained(NamedTuple):
    """One network of several: what it is trained on, and what is kept of its training (see ``fit``)."""

    inputs: Inputs
    """With the labels it is trained under; all networks share the same ``x``."""
    rows: np.ndarray
    seed: int
    label: str
    states: dict[int, dict[str, torch.Tensor]] | None = None
    dynamics: dict[str, torch.Tensor] | None = None


def stack_size(recipe: Recipe, payload: Payload, target: Target) -> int:
    """How many networks may be trained together; 1 where each is trained alone.

    That depends on the recipe and the inputs and on nothing else, so that a run's figures do not depend on its workers.
    """
    import torch

    from tasks.kernels.stack_trial import can_stack

    training = recipe.training
    if payload.tokens or training.compile or training.precision != "fp32" or training.augment != "none":
        return 1
    with devices.exclusive("cpu"), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(recipe.model, payload, target.outputs)
        parameters = list(network.parameters())
        # A convolution of several networks is a grouped one, which a CPU is slower at.
        if sum(p.numel() for p in parameters) > _PARAMETERS or any(p.dim() > 2 for p in parameters):
            return 1
        if not can_stack(network, torch.randn(4, *payload.shape)):
            return 1
    return max(1, min(_NETWORKS, _BATCH_BYTES // (8 * training.batch_size * int(np.prod(payload.shape)))))


def stacks_of(items: list[T], size: int) -> list[list[T]]:
    """The items in their order, in as few lists of at most ``size`` as it takes, as equal in length as it goes."""
    count = -(-len(items) // size)
    bounds = [len(items) * index // count for index in range(count + 1)] if count else [0]
    return [items[first:last] for first, last in pairwise(bounds)]


def fit_together(
    recipe: Recipe, payload: Payload, target: Target, networks: list[Trained], *, steps: int | None = None
) -> list[nn.Module]:
    """What ``fit`` gives for each of the networks, in evaluation mode and on the CPU.

    Each has its own seed, rows, order, labels and dropout, on a CPU as alone but for the last bits.

    Args:
        networks: no more than ``stack_size`` says. All of them keep states and dynamics, or none; of those, one stack
            (tasks/kernels/stacked.py) are those of as many batches an epoch.
        steps: optimisation steps of each, where no states are kept; default: epochs × its batches.

    Raises:
        BadModel: a network does not give the target's outputs, or not finite ones.
    """
    lengths = [0 if steps else -(-len(network.rows) // recipe.training.batch_size) for network in networks]
    trained: dict[int, nn.Module] = {}
    for length in sorted(set(lengths)):
        indices = [index for index, own in enumerate(lengths) if own == length]
        members = [networks[index] for index in indices]
        fit_members = _fit_alone if len(members) == 1 else _fit_stack
        trained |= dict(zip(indices, fit_members(recipe, payload, target, members, steps), strict=True))
    return [trained[index] for index in range(len(networks))]


def _fit_alone(
    recipe: Recipe, payload: Payload, target: Target, networks: list[Trained], steps: int | None
) -> list[nn.Module]:
    inputs, rows, seed, label, states, dynamics = networks[0]
    about = {"seed": seed, "label": label, "steps": steps, "states": states, "dynamics": dynamics}
    return [fit(recipe, payload, target, inputs, rows, **about)]


def _fit_stack(
    recipe: Recipe, payload: Payload, target: Target, networks: list[Trained], steps: int | None
) -> list[nn.Module]:
    import torch

    from tasks.kernels.stacked import Stack

    training = recipe.training
    with (
        devices.exclusive(training.device) as device,
        torch.random.fork_rng(devices=[device.index or 0] if device.type == "cuda" else []),
    ):
        built, generators = [], []
        for network in networks:
            torch.manual_seed(network.seed)
            built.append(initialised(recipe.model, payload, target, network.inputs, network.rows, device))
            # What dropout draws alone is drawn next.
            generators.append(torch.Generator().set_state(torch.get_rng_state()))
        stack = Stack(built, generators)
        _optimise(stack, networks, training, training.objective(target), device, steps)
        fitted = [network.cpu().eval() for network in stack.write_back()]
    for network, trained in zip(fitted, networks, strict=True):
        check_weights(network, trained.label)
    return fitted


def _optimise(
    stack: Stack, networks: list[Trained], training: Training, objective: Loss, device: torch.device, steps: int | None
) -> None:
    from tasks.kernels.stacked import weighted_means
    from tasks.training.optimizer import learning_rate, optimizer_of, set_rate

    per_epoch = -(-len(networks[0].rows) // training.batch_size)
    steps = steps or per_epoch * training.epochs
    kept = networks[0].states
    last = min(steps, per_epoch * max(kept)) if kept else steps
    batches = _Batches(networks, training.batch_size, device)
    recorder = _Recorder(networks, last, per_epoch, device)
    optimizer = optimizer_of(list(stack.parameters.values()), training, stacked=1)
    _keep_states(stack, networks, 0)
    with Progress(_label(networks), -(-last // per_epoch)) as progress:
        for count, batch in enumerate(islice(batches, last)):
            check()
            outputs = stack(batch.x, batch.sizes).float()
            losses = objective.losses(outputs.flatten(0, 1), batch.y.flatten(0, 1))
            means = weighted_means(losses.view(batch.rows.shape), batch.counts, batch.weights)
            recorder.note(batch, outputs, losses, objective)
            set_rate(optimizer, learning_rate(training, count, steps))
            optimizer.zero_grad(set_to_none=True)
            means.sum().backward()
            optimizer.step()
            if (count + 1) % per_epoch == 0 or count + 1 == last:
                # The only synchronisation with the device here: once an epoch.
                progress.step(f"loss {float(means.detach().mean()):.3f}")
                _keep_states(stack, networks, -(-(count + 1) // per_epoch))
    recorder.finish()


def _label(networks: list[Trained]) -> str:
    first = networks[0].label
    return first if len(networks) == 1 else f"{first} and {len(networks) - 1} more"


def _keep_states(stack: Stack, networks: list[Trained], epoch: int) -> None:
    for index, network in enumerate(networks):
        if network.states is not None and epoch in network.states:
            of_network, names = stack.state(index), stack.networks[index].state_dict()
            network.states[epoch] = state_of({name: of_network[name] for name in names})


class _Batch(NamedTuple):
    """One step's batches, those that are shorter filled up."""

    rows: torch.Tensor
    """s × b."""
    x: torch.Tensor
    y: torch.Tensor
    sizes: list[int]
    counts: torch.Tensor | None
    """The same on the device; None where all are full."""
    weights: torch.Tensor | None
    """s × b, each network's mean 1; None where all samples count the same."""


class _Batches:
    """Every network's batches side by side, without end."""

    def __init__(self, networks: list[Trained], size: int, device: torch.device) -> None:
        import torch

        from tasks.dataset.row_weights import mean_weight
        from tasks.training.optimizer import resident

        self._device = device
        self._inputs = replace(networks[0].inputs, x=resident(networks[0].inputs.x, device))
        # Of labels as many copies as there are different ones: most arms share theirs.
        labels = {id(network.inputs): network.inputs.y for network in networks}
        self._y = torch.stack(list(labels.values()))
        places = {name: place for place, name in enumerate(labels)}
        self._place = torch.tensor([[places[id(network.inputs)]] for network in networks])
        # Of the samples, as of all arms: another label is no other weight.
        self._weights = networks[0].inputs.weights
        if self._weights is not None:
            means = [[mean_weight(self._weights, network.rows)] for network in networks]
            self._means = torch.tensor(means, dtype=torch.float64)
        self._orders = [
            endless_batches(torch.from_numpy(n.rows), size, torch.Generator().manual_seed(n.seed)) for n in networks
        ]

    def __iter__(self) -> _Batches:
        return self

    def __next__(self) -> _Batch:
        import torch
        from torch.nn.utils.rnn import pad_sequence

        each = [next(order) for order in self._orders]
        sizes = [len(rows) for rows in each]
        is_full = min(sizes) == max(sizes)
        rows = torch.stack(each) if is_full else pad_sequence(each, batch_first=True)
        weights = None if self._weights is None else (self._weights[rows] / self._means).float().to(self._device)
        return _Batch(
            rows=rows,
            x=self._inputs.batch(rows.flatten()).unflatten(0, rows.shape).to(self._device),
            y=self._y[self._place, rows].to(self._device),
            sizes=sizes,
            counts=None if is_full else torch.tensor(sizes, device=self._device),
            weights=weights,
        )


class _Recorder:
    """Dynamics of every network in one table: its samples lie one network after the other."""

    def __init__(self, networks: list[Trained], steps: int, each_pass: int, device: torch.device) -> None:
        import torch

        from tasks.kernels.dynamics import Dynamics

        self._networks, self._samples = networks, len(networks[0].inputs.ids)
        count = len(networks) * self._samples
        # One more, for what fills batches up.
        wanted = networks[0].dynamics is not None
        self._dynamics = Dynamics(count + 1, steps, each_pass, device) if wanted else None
        self._first = torch.arange(len(networks)).unsqueeze(1) * self._samples
        self._spare = count

    def note(self, batch: _Batch, outputs: torch.Tensor, losses: torch.Tensor, objective: Loss) -> None:
        import torch

        if self._dynamics is None:
            return
        rows = self._first + batch.rows
        if batch.counts is not None:
            fills = torch.arange(rows.shape[1]) >= torch.tensor(batch.sizes).unsqueeze(1)
            rows = rows.masked_fill(fills, self._spare)
        self._dynamics.note(
            rows.flatten().to(outputs.device), outputs.flatten(0, 1), batch.y.flatten(0, 1), losses, objective
        )

    def finish(self) -> None:
        if self._dynamics is None:
            return
        means = self._dynamics.means()
        for index, network in enumerate(self._networks):
            assert network.dynamics is not None  # noqa: S101  of one stack all or none are recorded
            rows = slice(index * self._samples, (index + 1) * self._samples)
            network.dynamics.update({name: values[rows] for name, values in means.items()})
