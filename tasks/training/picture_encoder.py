"""A pretrained encoder of pictures that is trained along with its head."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from tasks.dataset.encoders.frozen_pictures import pooled, processor_of
from tasks.dataset.encoders.pretrained_network import load_pretrained
from tasks.training.low_rank import add_low_rank
from tasks.training.modules import OnPretrained


class PictureClassifier(OnPretrained):
    """Bytes to an encoder's vectors, and a linear head.

    Args:
        encoder: called with pixel_values.
        width: of its vectors.
        classes: k.
        size: (height, width) of the pictures it reads.
        mean: of each colour, of pixels from 0 to 1.
        std: the same.
        missing: names of its parameters that its weights' file does not hold.
        resized: whether that is another size than it was trained with.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(
        self,
        encoder: nn.Module,
        width: int,
        classes: int,
        *,
        size: tuple[int, int],
        mean: list[float],
        std: list[float],
        missing: set[str],
        resized: bool = False,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, nn.Linear(width, classes)
        self.size, self.missing, self.resized = size, missing, resized
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, torch.tensor(values).view(-1, 1, 1), persistent=False)
        frozen = (name for name, parameter in encoder.named_parameters() if not parameter.requires_grad)
        self.leave_out_pretrained(frozenset(frozen))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """n × 1 or 3 × H × W bytes → n × k."""
        pixels = x.float().expand(-1, 3, -1, -1) / 255
        pixels = nn.functional.interpolate(pixels, self.size, mode="bicubic", antialias=True, align_corners=False)
        pixels = (pixels.clamp(0, 1) - self.mean) / self.std
        return self.head(pooled(self.encoder, pixels, self.missing, resized=self.resized))


def tuned_encoder(weights: str, size: int | None, lora: tuple[int, list[str]] | None, classes: int) -> nn.Module:
    """The encoder with a head: all of it is trained, or of LoRA (its rank, the layers it stands beside) that alone.

    Raises:
        BadModel: the weights cannot be read, or no layer has a name that LoRA is to stand beside.
    """
    encoder, missing = load_pretrained(weights)
    processor = processor_of(weights, size)
    sides = _sides(processor)
    with torch.no_grad():
        width = pooled(encoder.eval(), torch.zeros(1, 3, *sides), missing, resized=size is not None).shape[1]
    if lora is not None:
        rank, targets = lora
        add_low_rank(encoder, rank, None, targets, "model encoder")
    mean, std = _scale(processor)
    is_resized = size is not None
    return PictureClassifier(
        encoder, width, classes, size=sides, mean=mean, std=std, missing=missing, resized=is_resized
    )


def _sides(processor: Any) -> tuple[int, int]:
    """(height, width) of what a processor hands on."""
    sizes = dict(processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size)
    side = sizes.get("shortest_edge") or sizes.get("longest_edge") or 0
    return sizes.get("height") or side, sizes.get("width") or side


def _scale(processor: Any) -> tuple[list[float], list[float]]:
    """(mean, standard deviation) by which bytes / 255 become what the processor would hand on."""
    is_normalised = getattr(processor, "do_normalize", True) and processor.image_mean
    mean, std = (processor.image_mean, processor.image_std) if is_normalised else ([0.0] * 3, [1.0] * 3)
    factor = processor.rescale_factor if getattr(processor, "do_rescale", True) else 1.0
    # (factor · x − m) / s = (x / 255 − m / (255 · factor)) / (s / (255 · factor))
    whole = 255 * factor
    return [value / whole for value in mean], [value / whole for value in std]
