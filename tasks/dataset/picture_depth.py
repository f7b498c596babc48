"""Pictures of any depth, with or without alpha, as grey or RGB of 8 bits a channel."""

from __future__ import annotations

import numpy as np
from PIL import Image

_GREY = ("1", "L", "LA", "La", "I", "F")
# What a camera, a microscope or a mask keeps in 16 bits.
_BITS = (8, 12, 16)


def is_grey(image: Image.Image) -> bool:
    """Whether a picture has no colours by its mode."""
    return image.mode in _GREY or image.mode.startswith("I;16")


def is_deep(image: Image.Image) -> bool:
    """Whether a pixel has more than 8 bits a channel."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def bits_for(largest: int) -> int:
    """The fewest of 8, 12 or 16 bits that hold a value below 65536."""
    return next(bits for bits in _BITS if largest < 2**bits)


def largest_value(image: Image.Image) -> int | None:
    """The largest value of a picture of whole numbers from 0 to 65535; None of any other."""
    values = np.asarray(image)
    return int(values.max()) if _fits_sixteen(values) else None


def _fits_sixteen(values: np.ndarray) -> bool:
    return bool(values.dtype.kind in "iu" and values.size and values.min() >= 0 and values.max() < 2**16)


def eight_bits(image: Image.Image, bits: int = 0) -> Image.Image:
    """A grey picture of more than 8 bits as one of 8, so that its range is seen; Pillow would clip it to 255.

    Whole numbers from 0 to 65535: the upper 8 of 8, 12 or 16 bits, so that what a sensor of 12 bits wrote into 16 is
    not dark; what is brighter than they hold is white. Floats within 0 and 1: times 255. All others: from the picture's
    own least value, as 0, to its largest, as 255. What is not finite is 0.

    Args:
        image: the picture.
        bits: that its set has, by which one value is one grey in all of it; 0 for the fewest that hold its own largest.
    """
    values = np.asarray(image)
    if _fits_sixteen(values):
        bits = bits or bits_for(int(values.max()))
        return Image.fromarray(np.minimum(values >> (bits - 8), 255).astype(np.uint8))
    finite = np.isfinite(values)
    values = np.where(finite, values, 0).astype(np.float64)
    least, largest = (
        float(end(values, where=finite, initial=first)) for end, first in ((np.min, np.inf), (np.max, -np.inf))
    )
    if image.mode == "F" and least >= 0 and largest <= 1:
        least, largest = 0.0, 1.0
    spread = largest - least
    if not np.isfinite(spread) or spread == 0:
        return Image.new("L", image.size)
    return Image.fromarray(np.where(finite, np.rint((values - least) / spread * 255), 0).astype(np.uint8))


def on_white(image: Image.Image) -> Image.Image:
    """A picture as grey or RGB; what is transparent shows white, and not what lies hidden there."""
    mode = "L" if is_grey(image) else "RGB"
    if image.has_transparency_data:
        above = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), above)
    return image if image.mode == mode else image.convert(mode)
