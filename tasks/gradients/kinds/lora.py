"""Gradients of the low-rank matrices of a fine-tuned model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from tasks.core.errors import BadModel
from tasks.gradients.kinds.layers import Layers

if TYPE_CHECKING:
    from torch import nn


class Lora(Layers, kind="lora"):
    """The A and B matrices of a peft model (Hu et al., ICLR 2022), told by their names."""

    layers_like: list[str] = Field(
        default=["*lora_A*", "*lora_B*"],
        min_length=1,
        description="Layers, by name or pattern; default: all of LoRA's.",
    )

    def layers(self, network: nn.Module) -> list[str]:
        """The network must have LoRA matrices.

        Raises:
            BadModel: it has none.
        """
        if not any("lora_" in name for name, _ in network.named_modules()):
            raise BadModel(
                where="gradient kind lora",
                expected="a network with LoRA matrices (modules named lora_A and lora_B, as peft makes them)",
                got="one without",
                do="Wrap it with peft.get_peft_model in your factory, or use the gradient kind layers.",
            )
        return super().layers(network)
