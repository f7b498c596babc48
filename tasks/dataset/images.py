"""Encoded pictures to arrays of one size, or the reason why not; and the size that a set of them is read in."""

from __future__ import annotations

import io
import struct
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import contextmanager, suppress
from statistics import median
from typing import IO, TYPE_CHECKING, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tasks.core.errors import BadInput
from tasks.dataset.picture_depth import bits_for, eight_bits, is_deep, is_grey, largest_value, on_white

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOKED_AT = 256
"""Pictures whose headers say how large all are."""
LONGEST = 64
"""Pixels of the longer side that a network receives, unless somebody asks for more."""

# Pictures of more than 8 bits that are decoded to know their brightest value.
_DECODED = 64

# Phones take 200 megapixels. What is larger is a decompression bomb, and an undecodable image, not a warning; Pillow's
# own limit stands below, and is lifted to ours.
_LARGEST = 300_000_000
Image.MAX_IMAGE_PIXELS = _LARGEST
_ORIENTATION, _SIDEWAYS = 0x0112, (5, 6, 7, 8)
_HEIC = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")

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


class Header(NamedTuple):
    """What a picture says of itself before its pixels."""

    width: int
    """Upright, as a viewer shows it."""
    height: int
    is_grey: bool
    is_deep: bool
    """Whether a pixel has more than 8 bits a channel."""


class Look(NamedTuple):
    """How a set of pictures is read, and what is to be told about it."""

    shape: tuple[int, int, int]
    """Channels, height, width."""
    notes: tuple[str, ...]
    bits: int = 0
    """What those of 16 bits hold: 8, 12 or 16; 0 where there is none."""


def decode(data: bytes, shape: tuple[int, ...], *, resize: bool, bits: int = 0) -> np.ndarray:
    """Pixels of an encoded picture.

    Args:
        data: PNG, JPEG, WebP … bytes.
        shape: (C, H, W) to return; C 1 (grey) or 3 (RGB).
        resize: whether a picture of another size is resized (bicubic) or refused.
        bits: that pictures of 16 bits hold in this set; 0 for each as it is.

    Returns:
        uint8 array of ``shape``.

    Raises:
        ValueError: the bytes are no picture, or one of another size; the message says which.
    """
    channels, height, width = shape
    # Twice the pixels that are needed, so that the resize has something to smooth.
    image = open_picture(data, 2 * max(height, width) if resize else None, bits)
    if (image.height, image.width) != (height, width):
        if not resize:
            raise ValueError(f"{image.width}×{image.height} pixels where the others have {width}×{height}")
        image = image.resize((width, height), Image.Resampling.BICUBIC, reducing_gap=2.0)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"), dtype=np.uint8)
    return pixels[None] if channels == 1 else np.ascontiguousarray(pixels.transpose(2, 0, 1))


def open_picture(data: bytes, side: int | None = None, bits: int = 0) -> Image.Image:
    """A picture as a viewer shows it: upright, its first frame, grey or RGB of 8 bits a channel, on white.

    Args:
        data: the encoded picture.
        side: pixels a side that are enough; a JPEG is then decoded no larger than it must be.
        bits: that pictures of 16 bits hold in its set; 0 for as many as it needs itself.

    Raises:
        ValueError: the bytes are no picture; the message says why.
    """
    with _undecodable(data):
        image = _opened(io.BytesIO(data), data[:12])
        if side is not None:
            image.draft(None, (side, side))
        image.load()
        _turn_upright(image)
        image = eight_bits(image, bits) if is_deep(image) else on_white(image)
    return image


def from_pixels(pixels: np.ndarray) -> Image.Image:
    """C × H × W bytes, C 1 or 3, as a picture: grey or RGB."""
    return Image.fromarray(pixels[0] if len(pixels) == 1 else np.ascontiguousarray(pixels.transpose(1, 2, 0)))


def header_of(stream: IO[bytes]) -> Header:
    """What a picture's header says; its pixels are not decoded.

    Raises:
        ValueError: it has none; the message says why.
    """
    start = stream.read(12)
    stream.seek(0)
    with _undecodable(start):
        image = _opened(stream, start)
        # Of a PNG whose note stands behind its pixels all of them would have to be decoded to know it; Pillow gives a
        # TIFF's size upright.
        is_known = image.format != "TIFF" and (image.format != "PNG" or "exif" in image.info)
        orientation = None
        with suppress(*_UNDECODABLE):
            orientation = image.getexif().get(_ORIENTATION) if is_known else None
        width, height = reversed(image.size) if orientation in _SIDEWAYS else image.size
    return Header(width, height, is_grey(image), is_deep(image))


def look_at(pictures: Iterable[Callable[[], IO[bytes]]], size: int | None, channels: int | None, where: str) -> Look:
    """How a set is read, by the headers of some of its pictures.

    All get the size that more than half of them have, or its proportions where its longer side is beyond ``LONGEST``.
    Where none is so common they become squares: of the median of their longer sides, of ``LONGEST`` at most. They are
    grey where most are. Those of 16 bits hold the 8, 12 or 16 that the brightest one needs.

    Args:
        pictures: opens each of some of them, spread over the set.
        size: pixels of a square's side, where somebody asks for it.
        channels: 1 grey, 3 RGB, where somebody asks for it.
        where: the source, for the message.

    Raises:
        BadInput: none of them can be read.
    """
    headers, deep, problems = [], [], ["no picture at all"]
    for opened in pictures:
        try:
            with opened() as stream:
                headers.append(header_of(stream))
            if headers[-1].is_deep:
                deep.append(opened)
        except (OSError, ValueError) as error:
            problems.append(str(error))
    if not headers:
        raise BadInput(
            where=where,
            expected="encoded pictures (PNG, JPEG, WebP …)",
            got=problems[-1],
            do="Check that the column or folder holds picture files, or their paths, and no raw pixels.",
        )
    width, height = (size, size) if size else _common_size(headers)
    grey_count = sum(header.is_grey for header in headers)
    chosen = channels or (1 if 2 * grey_count > len(headers) else 3)
    notes = [] if size else _size_notes(headers, width, height)
    if channels is None and chosen == 1 and grey_count < len(headers):
        coloured = f"{len(headers) - grey_count:,} of the {len(headers):,} pictures looked at"
        notes.append(f"pictures are read as grey, as most are, also those with colours: {coloured} (--reader.channels)")
    bits, depth_notes = _bits_of(deep)
    return Look((chosen, height, width), (*notes, *depth_notes), bits)


def spread(count: int, most: int = LOOKED_AT) -> list[int]:
    """Positions of at most ``most`` of ``count`` things, evenly spread over them."""
    return sorted({position * count // most for position in range(most)}) if count > most else list(range(count))


def _common_size(headers: Sequence[Header]) -> tuple[int, int]:
    sizes = Counter((header.width, header.height) for header in headers)
    ((width, height), count), *_ = sizes.most_common(1)
    if 2 * count <= len(headers):
        side = min(LONGEST, max(4, int(median(max(size) for size in sizes.elements()))))
        return side, side
    longer = max(width, height)
    if longer <= LONGEST:
        return width, height
    return tuple(max(4, round(length * LONGEST / longer)) for length in (width, height))  # type: ignore[return-value]


def _size_notes(headers: Sequence[Header], width: int, height: int) -> list[str]:
    sizes = sorted({(header.width * header.height, header.width, header.height) for header in headers})
    if sizes == [(width * height, width, height)]:
        return []
    ends = [f"{w}×{h}" for _, w, h in (sizes[0], sizes[-1])][: len(sizes)]
    looked = f" ({len(headers):,} were looked at)" if len(headers) >= LOOKED_AT else ""
    return [f"pictures of {' to '.join(ends)} pixels{looked} are read as {width}×{height} (--reader.image-size)"]


def _bits_of(deep: Sequence[Callable[[], IO[bytes]]]) -> tuple[int, list[str]]:
    """The bits that the brightest of some deep pictures needs, and what is to be told; 0 where none is of 16 bits."""
    largest: list[int] = []
    for index in spread(len(deep), _DECODED):
        with suppress(OSError, ValueError), deep[index]() as stream:
            value = _largest_in(stream.read())
            largest += [] if value is None else [value]
    if not largest:
        return 0, []
    bits = bits_for(max(largest))
    looked = f"none of the {len(largest):,} looked at is brighter, and what is would be white"
    return bits, [] if bits == 16 else [f"pictures of 16 bits are read as of {bits}: {looked}"]


# ---- one file ----------------------------------------------------------------------------------------------------


@contextmanager
def _undecodable(data: bytes) -> Iterator[None]:
    """Whatever the decoder raises as one kind of error, which says why."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            warnings.filterwarnings("ignore", r".*[Cc]orrupt EXIF", UserWarning)
            yield
    except UnidentifiedImageError as error:
        cause = f"it begins with {data[:12]!r}" if data else "an empty file"
        raise ValueError(f"not a decodable image ({cause})") from error
    except _UNDECODABLE as error:
        raise ValueError(f"not a decodable image ({error})") from error


def _largest_in(data: bytes) -> int | None:
    with _undecodable(data):
        image = _opened(io.BytesIO(data), data[:12])
        image.load()
    return largest_value(image)


def _opened(stream: IO[bytes], start: bytes) -> Image.Image:
    try:
        image = Image.open(stream)
    except UnidentifiedImageError:
        if start[4:8] != b"ftyp" or start[8:12] not in _HEIC:
            raise
        _learn_heic()
        stream.seek(0)
        image = Image.open(stream)
    if image.width * image.height > _LARGEST:
        raise ValueError(f"{image.width:,}×{image.height:,} pixels, more than {_LARGEST:,}: make it smaller")
    return image


def _learn_heic() -> None:
    """Teach Pillow what phones of one kind write.

    Raises:
        ValueError: what reads it is not installed.
    """
    try:
        from pi_heif import register_heif_opener  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError("a HEIC picture, for which one installs: pip install -e '.[vision]'") from error
    register_heif_opener()


def _turn_upright(image: Image.Image) -> None:
    """Turn a picture as every viewer does: a camera held sideways stores it so, and a note (EXIF) how it was held."""
    # What cannot be read of the note, or written back into it, is no fault of the pixels.
    with suppress(*_UNDECODABLE):
        ImageOps.exif_transpose(image, in_place=True)
