"""What the gradient kinds that store one vector a sample share: which layers, and how it is projected."""

# The three kinds differ in how the gradient is had; this base holds what is done with it.

from __future__ import annotations

import math
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, model_validator

from tasks.core.errors import BadModel
from tasks.gradients.kinds import Gradient

if TYPE_CHECKING:
    import torch
    from torch import nn

    from tasks.kernels.projections import Projection


class ProjectedGradient(Gradient):
    """Base of the kinds that store ``gradient``: projected to d values, or whole."""

    kind: Any = None
    layers_like: list[str] = Field(
        default=["*"], min_length=1, description="Layers, by name or pattern (layer4.*, *attn*); * is all of them."
    )
    projection: Literal["kronecker", "random", "sparse", "countsketch", "none"] = Field(
        default="kronecker", description="How gradients are projected; none keeps every value."
    )
    projection_dim: Annotated[int, Field(ge=1)] | Literal["auto"] = Field(
        default=512,
        description="Values stored a sample. auto: Johnson-Lindenstrauss, distances kept within a tenth (less so by "
        "kronecker, which is best with a square or a power of two).",
    )
    normalize: Literal["none", "matrices"] = Field(
        default="none",
        description="matrices: divide the gradient of each weight matrix by its length first (functional: of packed "
        "attention's three as one) and leave vectors out, biases above all, so that an inner product is the sum of the "
        "matrices' cosines and none drowns another. L2 norms are told as they were.",
    )
    seed: int = Field(default=0, description="Seed of the projection.")

    @model_validator(mode="after")
    def _kronecker_has_two_sides(self) -> ProjectedGradient:
        if self.projection == "kronecker" and self.projection_dim != "auto":
            from tasks.kernels.projections import split_dimension  # torch: not before a projection is asked for

            outer, inner = split_dimension(self.projection_dim)
            if outer > 4 * inner and self.projection_dim > 4:
                raise ValueError(
                    "projection_dim: kronecker splits it into two factors, expected such as are alike (16 × 32 = 512), "
                    f"got {outer} × {inner}; its inner products would hardly be kept"
                )
        return self

    @property
    def unit(self) -> bool:
        """As ``normalize`` has it."""
        return self.normalize != "none"

    def values(self, network: nn.Module) -> int:
        """Whole gradients, and a copy of them; none where only their Kronecker projection is made."""
        if self.projection == "kronecker":
            return 0
        modules = dict(network.named_modules())
        return 2 * sum(p.numel() for name in self.layers(network) for p in modules[name].parameters(recurse=False))

    def layers(self, network: nn.Module) -> list[str]:
        """The chosen modules with parameters of their own, in the network's order.

        Raises:
            BadModel: a pattern names none.
        """
        owners = [
            name for name, module in network.named_modules() if any(True for _ in module.parameters(recurse=False))
        ]
        all_names = [layer_name(name) for name in owners]
        names = [name for name in owners if any(fnmatchcase(layer_name(name), pattern) for pattern in self.layers_like)]
        idle = [pattern for pattern in self.layers_like if not any(fnmatchcase(name, pattern) for name in all_names)]
        if idle or not names:
            raise BadModel(
                where=f"gradient kind {self.kind}, layers-like",
                expected="names or patterns of its layers: "
                f"{', '.join(all_names[:20])}{' …' if len(all_names) > 20 else ''}",
                got=f"{', '.join(idle) or 'a network without parameters'}, which names none",
                do="Choose among these; * is all of them.",
            )
        modules = dict(network.named_modules())
        if self.unit and all(p.dim() == 1 for name in names for p in modules[name].parameters(recurse=False)):
            raise BadModel(
                where=f"gradient kind {self.kind}, normalize",
                expected="a weight matrix in the chosen layers",
                got=f"none in {', '.join(layer_name(name) for name in names[:20])}",
                do="Choose layers with one, or set gradient.normalize to none.",
            )
        return names

    def projector(self, samples: int, device: torch.device) -> Projection | None:
        """The projection of a dataset of so many samples; None to keep gradients whole."""
        from tasks.kernels.projections import Projection, johnson_lindenstrauss

        if self.projection == "none":
            return None
        d = self.projection_dim
        if d == "auto":
            d = johnson_lindenstrauss(samples)
            d = math.ceil(math.sqrt(d)) ** 2 if self.projection == "kronecker" else d  # two equal sides
        return Projection(self.projection, d, self.seed, device)


def layer_name(name: str) -> str:
    """A layer's name as its user knows it: without what wraps the model (tasks/training/fit.py)."""
    return name.removeprefix("network.")


def parameters_of(network: nn.Module, layers: list[str]) -> dict[str, int]:
    """Names of the parameters that the layers own → the place of the first layer that does.

    Shared ones once, in the order and by the names of ``named_parameters``.
    """
    modules = dict(network.named_modules())
    owner: dict[int, int] = {}
    for index, name in enumerate(layers):
        for parameter in modules[name].parameters(recurse=False):
            owner.setdefault(id(parameter), index)
    return {name: owner[id(parameter)] for name, parameter in network.named_parameters() if id(parameter) in owner}


def refuse_meeting(network: nn.Module, example: torch.Tensor) -> None:
    """Refuse a network in which one sample's output depends on the others'.

    Raises:
        BadModel: a batch gives other outputs than its samples one by one.
    """
    import torch

    x = probe(example, 3)
    with torch.no_grad():
        together, apart = network(x), torch.cat([network(x[i : i + 1]) for i in range(3)])
    if not torch.allclose(together, apart, rtol=1e-3, atol=1e-4):
        raise BadModel(
            where="the network",
            expected="outputs that depend on one sample each",
            got="outputs that change with the rest of the batch",
            do="Remove what mixes samples (means over the batch, batch statistics): they have no gradient apart.",
        )


def probe(example: torch.Tensor, n: int) -> torch.Tensor:
    """n distinct inputs of the same shape and type as ``example``, to try a network with."""
    import torch

    generator = torch.Generator().manual_seed(0)
    shape = (n, *example.shape[1:])
    if example.is_floating_point():
        return torch.randn(shape, generator=generator).to(example)
    return torch.randint(0, 2, shape, generator=generator).to(example)
