"""LoRA: low-rank changes beside chosen layers of a network whose own weights stay (Hu et al., 2021)."""

from __future__ import annotations

from torch import nn

from tasks.core.errors import BadModel, require_package


def add_low_rank(network: nn.Module, rank: int, alpha: float | None, targets: list[str], where: str) -> None:
    """Put matrices of a rank beside the layers whose names end so, in place; everything else is frozen.

    Args:
        network: that they are put into.
        rank: of the changes.
        alpha: their scale is alpha / rank; default twice it.
        targets: ends of names of linear layers.
        where: for messages.

    Raises:
        BadConfig: the library is not installed.
        BadModel: no layer has such a name.
    """
    with require_package("peft", f"{where}, tuning lora", "pip install -e '.[lora]'"):
        from peft import LoraConfig, inject_adapter_in_model
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha or 2 * rank,  # pyright: ignore[reportArgumentType]
        target_modules=targets,
        lora_dropout=0.0,
    )
    try:
        inject_adapter_in_model(config, network)
    except ValueError as error:
        linear = {name.rpartition(".")[2] for name, layer in network.named_modules() if isinstance(layer, nn.Linear)}
        raise BadModel(
            where=f"{where}, lora-targets",
            expected=f"ends of names of its layers: {', '.join(sorted(linear))}",
            got=", ".join(targets),
            do="Choose among these.",
        ) from error
