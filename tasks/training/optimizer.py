"""What a training step is made of: the pass forward, the rule that moves the weights, and how far it moves them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from inspect import unwrap
from typing import TYPE_CHECKING, Any

from tasks.core.errors import BadConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.kernels.losses import Loss
    from tasks.training.recipe import Training

# Inputs up to this size, and up to a quarter of what a GPU has free, are copied to the device once and not by batch.
RESIDENT_BYTES = 2 << 30
# The paper's step: .1 for 60 of 100 epochs, then .01.
_STEP_AFTER, _STEP_BY = 0.6, 0.1
# One cycle: the share of the steps in which it rises, what it begins with, as peak / 25, and its end, 10⁻⁴ of that.
_RISE, _START, _LEAST = 0.3, 25.0, 1e4


def optimizer_of(parameters: Sequence[torch.Tensor], training: Training, stacked: int = 0) -> Any:
    """AdamW or SGD on some parameters, of which the first ``stacked`` axes tell networks apart."""
    import torch

    groups = _groups(parameters, training, stacked)
    if training.optimizer == "adamw":
        # Fused, a step is one call: as separate ones it was a third of training a small network. (Not SGD: torch's
        # cannot take a parameter whose first gradient comes later than the others'.)
        trained = [p for p in parameters if p.requires_grad]
        fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in trained) or None
        adamw = _without_compiler(torch.optim.AdamW)
        return adamw(groups, lr=training.peak_lr, weight_decay=training.weight_decay, fused=fused)
    return _without_compiler(torch.optim.SGD)(
        groups,
        lr=training.peak_lr,
        momentum=training.momentum,
        weight_decay=training.weight_decay,
        nesterov=training.nesterov and training.momentum > 0,
    )


def learning_rate(training: Training, step: int, steps: int) -> float:
    """The learning rate of optimisation step ``step`` (from 0) of ``steps``.

    ``one_cycle`` rises to the peak in 30 % of the steps and falls to nothing, both along a cosine (Smith & Topin,
    2018); ``step`` is lr for 60 % of the steps and lr / 10 for the rest. The same numbers as torch's schedulers give,
    which take a tenth of the time of a small network's step.
    """
    peak = training.peak_lr
    if training.schedule == "step":
        return peak * _STEP_BY if step >= max(1, round(_STEP_AFTER * steps)) else peak
    # The last step is one before the end of the cycle: it would otherwise have a learning rate of nearly zero.
    start, least, top = peak / _START, peak / _START / _LEAST, _RISE * (steps + 1) - 1
    if step <= top:
        return _cosine(start, peak, step / top)
    return _cosine(peak, least, (step - top) / (steps - top))


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2.0 * (math.cos(math.pi * share) + 1)


@cache
def _without_compiler(optimizer: type[Any]) -> type[Any]:
    """One of torch's optimizers whose methods are called as they are written.

    Torch puts a guard around them for whoever compiles a step, and the first call imports the compiler for it: two
    seconds of every process that trains. Here only the network is ever compiled.
    """
    import torch

    # What is below every guard, and below the hook that torch adds when the first optimizer of a kind is made.
    plain = {name: unwrap(getattr(optimizer, name)) for name in ("add_param_group", "zero_grad")}
    return type(optimizer.__name__, (optimizer,), plain | {"step": torch.no_grad()(unwrap(optimizer.step))})


def _groups(parameters: Sequence[torch.Tensor], training: Training, stacked: int) -> list[dict[str, Any]]:
    """Parameters, with the decay of their own where it is not everybody's.

    Of one axis are biases and what normalisations scale and shift by: to pull these to zero regularises nothing (He et
    al., "Bag of Tricks", CVPR 2019).
    """
    if training.decay == "all":
        return [{"params": list(parameters)}]
    groups = {decays: [p for p in parameters if (p.dim() - stacked > 1) == decays] for decays in (True, False)}
    own = {True: {}, False: {"weight_decay": 0.0}}
    return [{"params": group, **own[decays]} for decays, group in groups.items() if group]


def resident(x: torch.Tensor, device: torch.device) -> torch.Tensor:
    """``x`` on the device if it fits there beside a training, else where it is; the values are the same."""
    import torch

    budget = RESIDENT_BYTES
    if device.type == "cuda":
        budget = min(budget, torch.cuda.mem_get_info(device)[0] // 4)
    return x.to(device) if x.nbytes <= budget else x


def set_rate(optimizer: Any, rate: float) -> None:
    """Set the learning rate of every group of parameters."""
    for group in optimizer.param_groups:
        group["lr"] = rate


def step_down(
    forward: Callable[[torch.Tensor], torch.Tensor],
    optimizer: torch.optim.Optimizer,
    objective: Loss,
    x: torch.Tensor,
    y: torch.Tensor,
    weights: torch.Tensor | None = None,
    *,
    mixed: bool,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """One step down the mean of w_i ℓ_i over a batch; (outputs, ℓ, mean), detached, of before it.

    Args:
        forward: the network's pass.
        optimizer: of its parameters.
        objective: ℓ.
        x: inputs of the batch.
        y: what the loss compares with.
        weights: w of the batch, n; 1 each by default.
        mixed: whether under autocast to bfloat16.
    """
    import torch

    with torch.autocast(x.device.type, torch.bfloat16, enabled=mixed):
        outputs = forward(x).float()
        losses = objective.losses(outputs, y)
        loss = (losses if weights is None else losses * weights).mean()
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return outputs.detach(), losses.detach(), loss.detach()


@contextmanager
def forward_pass(network: nn.Module, training: Training, size: int) -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """The network's forward pass, for as long as it is trained; compiled, if asked for, and the backward pass with it.

    The network itself stays what it is: its parameters, and their names in its state. Compiled are batches of
    ``size``, which is nearly all; the last one of an epoch is not worth a compilation of its own. Networks of the same
    shape share one, so that of many trainings in a process only the first waits.

    Raises:
        BadConfig: it cannot be compiled here. It is never silently run as it is.
    """
    if not training.compile:
        yield network
        return
    import torch
    from torch._dynamo import exc
    from torch._inductor.exc import CppCompileError, InvalidCxxCompiler

    fast = torch.compile(network, fullgraph=True, dynamic=False)
    try:
        yield lambda x: fast(x) if len(x) == size else network(x)
    except (exc.TorchDynamoException, exc.FailOnRecompileLimitHit, CppCompileError, InvalidCxxCompiler) as error:
        raise BadConfig(
            where="option training.compile",
            expected="a network that torch.compile takes whole, and a C++ compiler (on a GPU, Triton)",
            got=f"{type(error).__name__}: {next(iter(str(error).strip().splitlines()), '')}",
            do="Train without it: the same recipe, slower.",
        ) from error
