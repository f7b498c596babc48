"""Per-sample gradients by ``torch.func``: vmap(grad) over any module, and the reference for the faster ways."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn
from torch.func import functional_call, grad, vmap

from tasks.kernels.axes import Float
from tasks.kernels.losses import Loss


def sample_gradients(
    network: nn.Module, names: list[str], loss: Loss, chunk: int | None, scale: float = 1.0
) -> Callable[[torch.Tensor, torch.Tensor], tuple[Float[torch.Tensor, "n p"], Float[torch.Tensor, "n k"]]]:
    """A function of (n inputs, n labels) that gives (whole gradients, the network's outputs).

    ∇_θ ℓ(f_θ(x_i), y_i) for every i at once: vmap over the gradient of a batch of one. p is the number of values of the
    parameters ``names``, in their order, one after the other.

    Args:
        network: in evaluation mode, with no random layer left active.
        names: of the parameters.
        loss: ℓ.
        chunk: samples that are vectorised at a time; None for all. Memory grows with it.
        scale: of the loss while it is differentiated (half precision).
    """
    state = dict(network.named_parameters()) | dict(network.named_buffers())
    trainable = {name: state[name].detach() for name in names}
    constants = {name: value.detach() for name, value in state.items() if name not in trainable}

    def loss_of(
        parameters: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        logits = functional_call(network, parameters | constants, (x.unsqueeze(0),)).float()
        residual = loss.residuals(logits.detach(), y.unsqueeze(0))
        return (residual * logits).sum() * scale, logits.squeeze(0)

    each = vmap(grad(loss_of, has_aux=True), in_dims=(None, 0, 0), chunk_size=chunk, randomness="error")

    def take(x: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        gradients, logits = each(trainable, x, labels)
        whole = torch.cat([gradients[name].flatten(1) for name in names], dim=1).float()
        return (whole if scale == 1 else whole / scale), logits.detach()

    return take
