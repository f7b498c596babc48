"""Pictures that are nearly equal: one file in another format, size or quality. Found by a hash, then compared.

The hash is pHash, bit for bit that of the library ImageHash: the signs of the 64 lowest cosine frequencies against
their median. scipy's transform takes thousands at once, seven times faster; ImageHash would bring PyWavelets for
another hash, and hide the pixels by which line art and flat pictures are known.

A hash alone would call two handwritten ones, or a red and a green photo, the same. Every pair is therefore compared by
its pixels: 16 × 16 of grey and 4 × 4 of colour.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
from PIL import Image

from tasks.dataset.images import open_picture
from tasks.kernels.near_pairs import Pairs, near_hashes, pairs_of

# Bits in which copies differ: of a JPEG of quality 30, 99.9 % are within.
_BITS = 4
# Of a picture with a smaller side than the grid of comparison too little is left to compare.
_SMALLEST = 16
_GREY, _COLOUR, _HASHED = 16, 4, 32
# Grey levels around the mean, root mean square: below it the hash is of noise.
_FLAT = 4.0
# How far copies are apart: of the grey pixels' spread, and in levels of colour. A JPEG of quality 30 of a picture of
# 96 pixels is within .12, one of quality 50 of 32 pixels within .22; no two of 5,000 CIFAR pictures are within .36.
_APART, _APART_COLOUR = 0.3, 12.0
# Drawings and letters on an empty ground resemble one another far more: of 20,000 MNIST digits 1,464 pairs are within
# .25, and none within .1. They are known by the share of pixels within so many levels of the commonest one.
_APART_LINES, _GROUND_SHARE, _GROUND_LEVELS = 0.1, 1 / 3, 4
# Pictures that are opened, and pairs that are compared, at a time.
_PICTURES, _PAIRS = 256, 1 << 14
# Of which so many are in memory with all of their pixels.
_THREADS = 4


@dataclass
class Prints:
    """What is kept of pictures to compare them, 304 bytes and a hash each."""

    hashes: list[np.ndarray] = field(default_factory=list)
    grey: list[np.ndarray] = field(default_factory=list)
    colour: list[np.ndarray] = field(default_factory=list)
    indices: list[np.ndarray] = field(default_factory=list)
    tiny: int = 0
    """Pictures that are too small to be compared."""
    flat: int = 0
    """Those of one colour."""


def prints_of(pictures: Iterable[tuple[int, bytes | np.ndarray]]) -> Prints:
    """The prints of (index, encoded picture or its pixels), read a few at a time and opened by several threads."""
    prints, stream = Prints(), iter(pictures)
    with ThreadPoolExecutor(_THREADS) as threads:
        while block := list(islice(stream, _PICTURES)):
            indices = np.array([index for index, _ in block])
            small = list(threads.map(_small, (picture for _, picture in block)))
            _add(prints, indices, small)
    return prints


def _small(picture: bytes | np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The picture in three small sizes; None of a tiny one."""
    image = open_picture(picture) if isinstance(picture, bytes) else Image.fromarray(picture)
    if min(image.size) < _SMALLEST:
        return None
    luma, box = image.convert("L"), Image.Resampling.BOX
    hashed = luma.resize((_HASHED, _HASHED), Image.Resampling.LANCZOS)
    colour = image.convert("RGB").resize((_COLOUR, _COLOUR), box)
    return np.asarray(hashed, np.float32), np.asarray(luma.resize((_GREY, _GREY), box)), np.asarray(colour)


def _add(prints: Prints, indices: np.ndarray, small: list[tuple[np.ndarray, np.ndarray, np.ndarray] | None]) -> None:
    is_large = np.array([sizes is not None for sizes in small])
    prints.tiny += int((~is_large).sum())
    if not is_large.any():
        return
    hashed, grey, colour = (np.stack(sizes) for sizes in zip(*filter(None, small), strict=True))
    has_contrast = grey.std((1, 2)) >= _FLAT
    prints.flat += int((~has_contrast).sum())
    prints.indices.append(indices[is_large][has_contrast])
    prints.hashes.append(perceptual_hashes(hashed[has_contrast]))
    prints.grey.append(grey[has_contrast].reshape(-1, _GREY * _GREY))
    prints.colour.append(colour[has_contrast].reshape(-1, _COLOUR * _COLOUR * 3))


def perceptual_hashes(grey: np.ndarray) -> np.ndarray:
    """pHash of n × 32 × 32 grey pixels, n uint64: which of the 8 × 8 lowest frequencies are above their median."""
    from scipy.fft import dctn

    low = np.asarray(dctn(grey, axes=(1, 2)))[:, :8, :8].reshape(len(grey), 64)
    bits = low > np.median(low, axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(">u8").ravel().astype(np.uint64)


def near_pictures(prints: Prints) -> Pairs:
    """Pairs of nearly equal pictures, by the indices they were given; the distance is a share of their contrast."""
    if not prints.indices:
        return pairs_of([])
    indices, hashes = np.concatenate(prints.indices), np.concatenate(prints.hashes)
    grey, colour = np.concatenate(prints.grey), np.concatenate(prints.colour)
    candidates = near_hashes(hashes, _BITS)
    parts = []
    for first in range(0, len(candidates.first), _PAIRS):
        i, j = candidates.first[first : first + _PAIRS], candidates.second[first : first + _PAIRS]
        near, apart = _compare(grey, colour, i, j)
        parts.append((indices[i[near]], indices[j[near]], apart[near]))
    return pairs_of(parts, candidates.uncompared)


def _compare(grey: np.ndarray, colour: np.ndarray, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(whether the pixels of some pairs are near as well, how far their grey ones are apart)."""
    a, b = grey[i].astype(np.float32), grey[j].astype(np.float32)
    apart = _root_mean_square(a - b) / np.maximum(a.std(1), b.std(1))
    apart_colour = _root_mean_square(colour[i].astype(np.float32) - colour[j])
    limit = np.where(_are_lines(grey[i]) | _are_lines(grey[j]), _APART_LINES, _APART)
    return (apart <= limit) & (apart_colour <= _APART_COLOUR), apart


def _root_mean_square(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(x).mean(1))


def _are_lines(grey: np.ndarray) -> np.ndarray:
    """Whether pictures are mostly empty ground: much of each lies about its commonest level; n bool."""
    levels = grey // _GROUND_LEVELS
    counts = np.zeros((len(grey), 256 // _GROUND_LEVELS + 2), np.int32)
    np.add.at(counts, (np.arange(len(grey))[:, None], levels + 1), 1)
    # A ground at the edge of two steps counts with both.
    return (counts[:, 1:] + counts[:, :-1]).max(1) >= _GROUND_SHARE * grey.shape[1]
