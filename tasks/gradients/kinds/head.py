"""Gradients of the final linear layer, from one forward pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core.errors import BadModel
from tasks.gradients.kinds import Gradient, SampleGradients, Taker
from tasks.gradients.kinds.projected import refuse_meeting

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.kernels.losses import Loss


class Head(Gradient, kind="head"):
    """r ⊗ [h; 1] of the layer whose output is the network's output (tasks/kernels/head.py)."""

    def check(self, network: nn.Module, example: torch.Tensor) -> None:
        """The network must end in an ``nn.Linear``, and its samples must not meet."""
        import torch

        from tasks.kernels.rules import UnfitLayer, refuse_batch_statistics

        network.eval()
        with torch.no_grad():
            try:
                refuse_batch_statistics(network)
                _run(network, example)
                refuse_meeting(network, example)
            except UnfitLayer as error:
                raise BadModel(
                    where=f"layer {error.name}",
                    expected="a layer that treats samples one by one",
                    got=error.reason,
                    do="Use GroupNorm or LayerNorm there, or let BatchNorm keep running statistics.",
                ) from error
            except (RuntimeError, TypeError, ValueError) as error:
                raise BadModel(
                    where="the network",
                    expected=f"one that takes a batch of inputs of shape {tuple(example.shape[1:])}",
                    got=f"{type(error).__name__}: {error}",
                    do="Let its first layer have that many inputs.",
                ) from error

    def taker(self, network: nn.Module, example: torch.Tensor, loss: Loss, samples: int) -> Taker:
        """One batched forward pass; nothing is differentiated."""
        import torch

        from tasks.kernels.head import head_gradient
        from tasks.kernels.precision import running_in

        def take(x: torch.Tensor, labels: torch.Tensor) -> SampleGradients:
            with torch.no_grad():
                with running_in(self.precision, x.device):
                    logits, features, head = _run(network, x)
                logits = logits.float()
                factors = head_gradient(logits, features.float(), labels, loss, bias=head.bias is not None)
            return SampleGradients(factors._asdict(), logits, None)

        return take


def _run(network: nn.Module, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, nn.Linear]:
    """(logits, the head's input, the head): the head is found by what it does, not by its name.

    Raises:
        BadModel: the network's output is not the output of one of its linear layers, on one vector a sample.
    """
    from torch import nn

    record: list[tuple[nn.Linear, torch.Tensor, torch.Tensor, int]] = []

    def note(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        assert isinstance(layer, nn.Linear)  # noqa: S101  hooks are set on these only
        # The version counts changes in place: a ReLU(inplace=True) behind the head returns the same tensor, changed.
        record[:] = [(layer, inputs[0], output, output._version)]

    hooks = [layer.register_forward_hook(note) for layer in network.modules() if isinstance(layer, nn.Linear)]
    try:
        logits = network(x)
    finally:
        for hook in hooks:
            hook.remove()
    is_output = bool(record) and record[0][2] is logits and record[0][3] == logits._version
    if not is_output or record[0][1].dim() != 2:
        last = [type(layer).__name__ for layer in network.modules() if not list(layer.children())][-1:]
        raise BadModel(
            where="gradient kind head",
            expected="a network whose output is the output of an nn.Linear",
            got=f"one whose output is something else (its last layer is a {last[0]})" if last else "one without layers",
            do="Move what follows the last Linear (softmax, scaling) out of the network: training works on logits.",
        )
    head, features, *_ = record[0]
    return logits, features, head
