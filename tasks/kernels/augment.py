"""Image augmentation for training, batched and on the images' device; never used while gradients are taken."""

from __future__ import annotations

import torch

from tasks.kernels.axes import Shaped


def crop_flip(
    images: Shaped[torch.Tensor, "n c height width"], *, pad: int, generator: torch.Generator
) -> Shaped[torch.Tensor, "n c height width"]:
    """Zero-pad by ``pad``, crop at a random place to the old size, and mirror half of the images.

    The recipe of He et al. (CVPR 2016) for CIFAR with ``pad`` = 4. Each image draws its own crop and its own flip from
    ``generator`` (a CPU generator, so that every device sees the same draws).
    """
    n, _, height, width = images.shape
    device = images.device
    top = torch.randint(0, 2 * pad + 1, (n, 1), generator=generator).to(device)
    left = torch.randint(0, 2 * pad + 1, (n, 1), generator=generator).to(device)
    flips = (torch.rand((n, 1), generator=generator) < 0.5).to(device)
    rows = top + torch.arange(height, device=device)
    columns = torch.arange(width, device=device).expand(n, width)
    columns = left + torch.where(flips, width - 1 - columns, columns)
    canvas = torch.nn.functional.pad(images, (pad, pad, pad, pad))
    sample = torch.arange(n, device=device)[:, None, None]
    # Advanced indices around a slice put the indexed axes first: n × height × width × c.
    return canvas[sample, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
