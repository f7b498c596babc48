"""Gradients of chosen layers, or of all, from one forward and one backward pass of the whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tasks.core.errors import BadModel
from tasks.gradients.kinds import SampleGradients, Taker
from tasks.gradients.kinds.projected import ProjectedGradient, parameters_of, probe

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.kernels.losses import Loss

# How far the hooks may be from autograd on the probe, relative to the largest of the compared norms (float32).
_TOLERANCE = 1e-3


class Layers(ProjectedGradient, kind="layers"):
    """Hooks on Linear, Conv, Embedding, normalisation and attention layers (tasks/kernels/layers.py)."""

    def check(self, network: nn.Module, example: torch.Tensor) -> None:
        """The hooks must know each chosen layer and agree with autograd, one sample at a time, on a probe."""
        import torch

        from tasks.kernels.layers import LayerGradientTaker
        from tasks.kernels.losses import Loss
        from tasks.kernels.rules import UnfitLayer

        network.eval()
        names = self.layers(network)
        x = probe(example, 3)
        try:
            by_hooks = LayerGradientTaker(network, names, x)
            with torch.no_grad():
                outputs = network(x)
            # Of one output a cross entropy would be flat.
            loss = Loss() if outputs.shape[1] > 1 else Loss("squared_error")
            labels = outputs.argmin(1) if outputs.shape[1] > 1 else outputs + 1
            gradients = by_hooks.take(x, labels, loss, None)
        except UnfitLayer as error:
            raise _unfit(error.name, error.reason) from error
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise BadModel(
                where="the network",
                expected=f"one that takes a batch of inputs of shape {tuple(example.shape[1:])} and gives n × k logits",
                got=f"{type(error).__name__}: {error}",
                do="Let its first layer have that many inputs.",
            ) from error
        _compare(network, names, x, labels, loss, gradients.gradient)

    def taker(self, network: nn.Module, example: torch.Tensor, loss: Loss, samples: int) -> Taker:
        """Hooks for one network."""
        from tasks.kernels.layers import LayerGradientTaker
        from tasks.kernels.precision import loss_scale, running_in

        by_hooks = LayerGradientTaker(network, self.layers(network), example, unit=self.unit)
        projection = self.projector(samples, example.device)

        def take(x: torch.Tensor, labels: torch.Tensor) -> SampleGradients:
            with running_in(self.precision, x.device):
                gradients = by_hooks.take(x, labels, loss, projection, loss_scale(self.precision))
            return SampleGradients({"gradient": gradients.gradient}, gradients.logits, gradients.squares)

        return take


def _compare(
    network: nn.Module, names: list[str], x: torch.Tensor, labels: torch.Tensor, objective: Loss, gradient: torch.Tensor
) -> None:
    """Refuse a network in which a layer is used in a way its hooks do not see."""
    import torch

    names_of_parameters = list(parameters_of(network, names))
    parameters = dict(network.named_parameters())
    before = {name: parameter.requires_grad for name, parameter in parameters.items()}
    try:
        for name, parameter in parameters.items():
            parameter.requires_grad_(name in names_of_parameters)
        for i in range(len(x)):
            with torch.enable_grad():
                loss = objective.losses(network(x[i : i + 1]).float(), labels[i : i + 1]).sum()
                expected = torch.autograd.grad(
                    loss, [parameters[name] for name in names_of_parameters], materialize_grads=True
                )
            at, tolerance = 0, _TOLERANCE * max(float(value.norm()) for value in expected)
            for name, value in zip(names_of_parameters, expected, strict=True):
                part = gradient[i, at : at + value.numel()]
                at += value.numel()
                if float((part - value.flatten()).norm()) > tolerance:
                    raise _unfit(name, "its gradient by hooks is not autograd's: the layer is used in an unusual way")
    finally:
        for name, parameter in parameters.items():
            parameter.requires_grad_(before[name])


def _unfit(name: str, reason: str) -> BadModel:
    return BadModel(
        where=f"layer {name}",
        expected="a layer whose per-sample gradients follow from its input and its output's gradient",
        got=reason,
        do="Leave it out with gradient.layers-like, or use the gradient kind functional, which takes any module.",
    )
