"""Gradients of any module by torch.func, for what the hooks of ``layers`` do not know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field, field_validator

from tasks.core.errors import BadModel, cause_of
from tasks.gradients.kinds import SampleGradients, Taker
from tasks.gradients.kinds.projected import ProjectedGradient, parameters_of, probe, refuse_meeting

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.kernels.losses import Loss


class Functional(ProjectedGradient, kind="functional"):
    """vmap(grad) over batches of one, whole gradients at a time (tasks/kernels/functional.py)."""

    projection: Literal["kronecker", "random", "sparse", "countsketch", "none"] = Field(
        default="countsketch", description="How gradients are projected; none keeps every value."
    )
    chunk: int | None = Field(default=None, ge=1, description="Samples vectorised at a time; default: the batch.")

    @field_validator("projection")
    @classmethod
    def _needs_factors(cls, value: str) -> str:
        if value == "kronecker":
            raise ValueError("kronecker projects factors, which only the kinds layers and lora have; take countsketch")
        return value

    def check(self, network: nn.Module, example: torch.Tensor) -> None:
        """The network must be traceable by torch.func, and its samples must not meet."""
        import torch

        from tasks.kernels.functional import sample_gradients
        from tasks.kernels.losses import Loss
        from tasks.kernels.precision import running_in
        from tasks.kernels.rules import UnfitLayer, refuse_batch_statistics

        network.eval()
        names = list(parameters_of(network, self.layers(network)))
        x = probe(example, 2)
        try:
            refuse_batch_statistics(network)
            with running_in(self.precision, x.device):
                sample_gradients(network, names, Loss(), None)(x, torch.zeros(2, dtype=torch.int64))
            refuse_meeting(network, example)
        except UnfitLayer as error:
            raise BadModel(
                where=f"layer {error.name}",
                expected="a layer that treats samples one by one",
                got=error.reason,
                do="Use GroupNorm or LayerNorm there, or let BatchNorm keep running statistics.",
            ) from error
        except (RuntimeError, TypeError, ValueError, IndexError) as error:
            raise BadModel(
                where="gradient kind functional",
                expected=f"a network that torch.func can vectorise over inputs of shape {tuple(example.shape[1:])}",
                got=cause_of(error),
                do="Avoid random layers, .item() and control flow that depends on values; or use layers or head.",
            ) from error

    def taker(self, network: nn.Module, example: torch.Tensor, loss: Loss, samples: int) -> Taker:
        """One vectorised gradient function for one network."""

        from tasks.kernels.factors import inverse_length
        from tasks.kernels.functional import sample_gradients
        from tasks.kernels.precision import loss_scale, running_in

        layers = self.layers(network)
        layer_of = parameters_of(network, layers)
        names = list(layer_of)
        take_whole = sample_gradients(network, names, loss, self.chunk, loss_scale(self.precision))
        projection = self.projector(samples, example.device)
        parameters = dict(network.named_parameters())
        sizes = [parameters[name].numel() for name in names]

        def take(x: torch.Tensor, labels: torch.Tensor) -> SampleGradients:
            with running_in(self.precision, x.device):
                whole, logits = take_whole(x, labels)
            blocks = whole.split(sizes, dim=1)
            squares = whole.new_zeros(len(x), len(layers))
            for name, block in zip(names, blocks, strict=True):
                of_block = block.square().sum(1)
                squares[:, layer_of[name]] += of_block
                if self.unit:
                    block.mul_(inverse_length(of_block).unsqueeze(1) if parameters[name].dim() > 1 else 0)
            if projection is None:
                return SampleGradients({"gradient": whole}, logits, squares)
            out = whole.new_zeros(len(x), projection.d)
            for name, block in zip(names, blocks, strict=True):
                projection.add(name, block, out)
            return SampleGradients({"gradient": out}, logits, squares)

        return take
