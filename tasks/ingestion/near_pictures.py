"""Pictures that are nearly equal: one file in another format, size or quality. Found by a hash, then compared.

The hash is pHash, bit for bit that of the library ImageHash: the signs of the 64 lowest cosine frequencies against
their median. scipy's transform takes thousands at once, seven times faster; ImageHash would bring PyWavelets for
another hash, and hide the pixels by which line art and flat pictures are known.

A hash alone would call two handwritten ones, or a red and a green photo, the same, and so would an encoder that tells
nothing. Every pair is therefore compared by its pixels: 16 × 16 of grey, as a whole and where they differ most, and
4 × 4 of colour.
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
# An encoder's pairs may be further apart, moved by a pixel or two: of 3,000 CIFAR pictures three pairs are within .45.
_APART_ENCODED = 0.45
# How far their means over an eighth of each side are apart, at most, of the same spread: a small defect is another
# picture. Signed means, since a finer grid tells a JPEG's noise and a resized edge, up to 2.3, from no defect. Of 300
# CIFAR pictures a JPEG of quality 50 is within .26, half the size within .39; of 96 pixels a photo's copies within .07,
# and twelve that are thirty levels brighter or darker .5 and more.
_APART_LOCALLY = 0.4
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
    candidates = near_hashes(np.concatenate(prints.hashes), _BITS)
    return _confirmed(prints, candidates.first, candidates.second, _APART, candidates.uncompared)


def pictures_of_vectors(prints: Prints, proposed: Pairs) -> Pairs:
    """Of pairs that an encoder takes for copies, those whose pixels are near as well, and how far these are apart."""
    if not prints.indices:
        return pairs_of([], proposed.uncompared)
    indices = np.concatenate(prints.indices)
    row = np.full(max(indices.max(initial=0), proposed.second.max(initial=0)) + 1, -1)
    row[indices] = np.arange(len(indices))
    i, j = row[proposed.first], row[proposed.second]
    known = (i >= 0) & (j >= 0)
    return _confirmed(prints, i[known], j[known], _APART_ENCODED, proposed.uncompared)


def _confirmed(prints: Prints, first: np.ndarray, second: np.ndarray, limit: float, uncompared: int) -> Pairs:
    """Of pairs of rows those whose pixels are near."""
    indices, grey, colour = (np.concatenate(of) for of in (prints.indices, prints.grey, prints.colour))
    are_lines = [_are_lines(grey[start : start + _PAIRS]) for start in range(0, len(grey), _PAIRS)]
    limits = np.where(np.concatenate([np.empty(0, bool), *are_lines]), _APART_LINES, limit)
    parts = []
    for start in range(0, len(first), _PAIRS):
        i, j = first[start : start + _PAIRS], second[start : start + _PAIRS]
        # Colour is compared first: it is a fifth of the numbers, and tells most of an encoder's false pairs.
        apart_colour = _root_mean_square(colour[i].astype(np.float32) - colour[j])
        i, j = i[apart_colour <= _APART_COLOUR], j[apart_colour <= _APART_COLOUR]
        near, apart = _compare(grey, limits, i, j)
        parts.append((indices[i[near]], indices[j[near]], apart[near]))
    return pairs_of(parts, uncompared)


def _compare(grey: np.ndarray, limits: np.ndarray, i: np.ndarray, j: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(whether the grey pixels of some pairs are near, how far they are apart)."""
    a, b = grey[i].astype(np.float32), grey[j].astype(np.float32)
    spread = np.maximum(a.std(1), b.std(1))
    apart = _root_mean_square(a - b) / spread
    is_near = (apart <= np.minimum(limits[i], limits[j])) & (_locally(a - b) <= _APART_LOCALLY * spread)
    return is_near, apart


def _locally(difference: np.ndarray) -> np.ndarray:
    """The largest mean difference of 2 × 2 neighbours, wherever they lie."""
    cells = difference.reshape(-1, _GREY, _GREY)
    rows = cells[:, 1:] + cells[:, :-1]
    return np.abs(rows[:, :, 1:] + rows[:, :, :-1]).max((1, 2)) / 4


def _root_mean_square(x: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(x).mean(1))


def _are_lines(grey: np.ndarray) -> np.ndarray:
    """Whether pictures are mostly empty ground: much of each lies about its commonest level; n bool."""
    levels = grey // _GROUND_LEVELS
    counts = np.zeros((len(grey), 256 // _GROUND_LEVELS + 2), np.int32)
    np.add.at(counts, (np.arange(len(grey))[:, None], levels + 1), 1)
    # A ground at the edge of two steps counts with both.
    return (counts[:, 1:] + counts[:, :-1]).max(1) >= _GROUND_SHARE * grey.shape[1]
