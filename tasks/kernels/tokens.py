"""Token ids as vectors that can be compared."""

from __future__ import annotations

import torch

from tasks.kernels.axes import Float, Int, Shaped

_MULTIPLIER, _LOW = 0x45D9F3B, 0xFFFFFFFF
_SEGMENT = 1_000_003


def bag(x: Shaped[torch.Tensor, "n *shape"], *, pad: int, width: int) -> Float[torch.Tensor, "n w"]:
    """Counts of tokens, hashed to ``width`` values with signs (Weinberger et al., ICML 2009), √ of each.

    With signs, inner products of the counts are kept in expectation; the root damps what is said again and again.

    Args:
        x: n × length ids; or n × 2 × length, ids and segments: a token counts apart in each segment.
        pad: the id that does not count.
        width: buckets.
    """
    ids, segments = (x[:, 0], x[:, 1]) if x.dim() == 3 else (x, torch.zeros_like(x))
    code = (ids.long() + _SEGMENT * segments.long()) & _LOW
    for _ in range(2):  # one round leaves the low bits, and so the signs, to the low bits of the id
        code = ((code ^ (code >> 16)) * _MULTIPLIER) & _LOW
    code = code ^ (code >> 16)
    sign = (1 - 2 * (code & 1)).float() * (ids != pad)
    bucket = (code >> 1) % width
    counts = torch.zeros(len(x), width, device=x.device).scatter_add(1, bucket, sign)
    return counts.sign() * counts.abs().sqrt()


def lengths(x: Shaped[torch.Tensor, "n *shape"], *, pad: int) -> Int[torch.Tensor, "n"]:
    """Places of each text up to its last that is not padding, int64, one at least.

    Args:
        x: n × length ids; or n × 2 × length, ids and segments: what a segment is marked at is no padding.
        pad: the id that fills a text up.
    """
    used = (x[:, 0] != pad) | (x[:, 1] != 0) if x.dim() == 3 else x != pad
    return (used * torch.arange(1, x.shape[-1] + 1, device=x.device)).amax(-1).clamp(min=1)


def rarity(counts: Float[torch.Tensor, "n w"]) -> Float[torch.Tensor, "w"]:
    """log((1 + n) / (1 + texts that have it)) of each bucket: what every text has tells none from another."""
    texts = (counts != 0).sum(0)
    return torch.log((1 + len(counts)) / (1 + texts).float())
