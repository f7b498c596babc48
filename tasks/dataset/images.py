"""Encoded images to arrays of one size, or the reason why not."""

from __future__ import annotations

import io
import struct
import warnings
from contextlib import suppress

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.core.errors import BadInput

# A decompression bomb is an undecodable image, not a warning.
_LARGEST = 64_000_000

# What one file can do to the decoder: each is a reason to set that file aside, none to stop the run.
_UNDECODABLE = (
    UnidentifiedImageError,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    NotImplementedError,
    LookupError,
    TypeError,
    OverflowError,
    struct.error,
)


def shape_of(data: bytes, size: int | None) -> tuple[int, int, int]:
    """(channels, height, width) that samples like this image get: its own, or a square of ``size`` pixels."""
    image = open_picture(data)
    channels = 1 if image.mode in ("1", "L", "I", "I;16", "F") else 3
    return (channels, size, size) if size else (channels, image.height, image.width)


def decode(data: bytes, shape: tuple[int, ...], *, resize: bool) -> np.ndarray:
    """Pixels of an encoded image.

    Args:
        data: PNG, JPEG, WebP … bytes.
        shape: (C, H, W) to return; C 1 (grey) or 3 (RGB).
        resize: whether an image of another size is resized (bicubic) or refused.

    Returns:
        uint8 array of ``shape``.

    Raises:
        ValueError: the bytes are no image, or one of another size; the message says which.
    """
    channels, height, width = shape
    image = open_picture(data)
    if (image.height, image.width) != (height, width):
        if not resize:
            raise ValueError(f"{image.width}×{image.height} pixels where the first image has {width}×{height}")
        image = image.resize((width, height), Image.Resampling.BICUBIC)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def open_picture(data: bytes) -> Image.Image:
    """A picture as a viewer shows it: upright, of 8 bits a channel.

    Raises:
        ValueError: the bytes are no image; the message says why.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", r".*[Cc]orrupt EXIF", UserWarning)
            image = Image.open(io.BytesIO(data))
            if image.width * image.height > _LARGEST:
                raise ValueError(f"{image.width}×{image.height} pixels, more than {_LARGEST:,}")
            image.load()
            _turn_upright(image)
            if image.mode.startswith("I;16"):
                # Pillow would clip to 255: keep the upper byte.
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    except _UNDECODABLE as error:
        raise ValueError(f"not a decodable image ({error})") from error
    return image


def _turn_upright(image: Image.Image) -> None:
    """Turn a picture as every viewer does: a camera held sideways stores it so, and a note (EXIF) how it was held."""
    # What cannot be read of the note, or written back into it, is no fault of the pixels.
    with suppress(*_UNDECODABLE):
        ImageOps.exif_transpose(image, in_place=True)


def first_shape(images: list[bytes | None], size: int | None, where: str) -> tuple[int, int, int]:
    """The shape that the first decodable of ``images`` sets for all.

    Raises:
        BadInput: none of them can be decoded.
    """
    problem = "no image at all"
    for data in images:
        if data is None:
            continue
        try:
            return shape_of(data, size)
        except ValueError as error:
            problem = str(error)
    raise BadInput(
        where=where,
        expected="encoded images (PNG, JPEG, WebP …)",
        got=problem,
        do="Check that the column or folder holds image files, not paths or raw pixels.",
    )
