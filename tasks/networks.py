"""Modules that networks are built of."""

from __future__ import annotations

import torch
from torch import nn


class Standardize(nn.Module):
    """(x − mean) / std by feature, or by channel for images; the first layer of every network.

    The statistics are those of the samples the network is trained on, kept in its state: what is stored stays bytes.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        statistic = (shape[0], 1, 1) if len(shape) == 3 else shape
        self.register_buffer("mean", torch.zeros(statistic))
        self.register_buffer("std", torch.ones(statistic))

    def fit(self, x: torch.Tensor, rows: torch.Tensor) -> None:
        """Set the statistics from the samples ``rows`` of ``x``, in float64 and in chunks."""
        axes = (0, 2, 3) if x.dim() == 4 else (0,)
        count = len(rows) * (x[0].numel() // self.mean.numel())
        total = torch.zeros(self.mean.shape, dtype=torch.float64)
        chunks = rows.split(4096)
        for chunk in chunks:
            total += x[chunk].double().sum(axes).view_as(total)
        mean = total / count
        squares = torch.zeros_like(total)
        for chunk in chunks:
            squares += ((x[chunk].double() - mean) ** 2).sum(axes).view_as(total)
        std = (squares / count).sqrt()
        self.mean.copy_(mean)
        # A constant feature says nothing: it becomes zero, not a division by zero.
        self.std.copy_(torch.where(std > 0, std, torch.ones_like(std)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Standardised float32."""
        return (x.float() - self.mean) / self.std


class BasicBlock(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut (He et al., CVPR 2016)."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(inside, outside, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outside),
            nn.ReLU(),
            nn.Conv2d(outside, outside, 3, padding=1, bias=False),
            nn.BatchNorm2d(outside),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inside != outside:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inside, outside, 1, stride=stride, bias=False), nn.BatchNorm2d(outside)
            )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """relu(F(x) + shortcut(x))."""
        return torch.relu(self.convolutions(x) + self.shortcut(x))
