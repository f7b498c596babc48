"""An encoded image becomes pixels of the one shape, or a ValueError that says why not."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.core.errors import BadInput
from tasks.dataset.images import decode, first_shape, shape_of

GREY = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def _encoded(pixels: np.ndarray | Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, form, **options)
    return out.getvalue()


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {})])
def test_lossless_pixels_come_back_channels_first(form, options):
    data = _encoded(COLOUR, form, **options)
    assert shape_of(data, None) == (3, 5, 7)
    assert np.array_equal(decode(data, (3, 5, 7), resize=False), COLOUR.transpose(2, 0, 1))


def test_grey_pixels_have_one_channel():
    data = _encoded(GREY)
    assert shape_of(data, None) == (1, 5, 7)
    assert np.array_equal(decode(data, (1, 5, 7), resize=False), GREY[None])


def test_a_jpeg_is_decoded():
    pixels = decode(_encoded(np.full((16, 16), 77, np.uint8), "JPEG"), (1, 16, 16), resize=False)
    assert abs(pixels.astype(int) - 77).max() <= 2


def test_grey_and_colour_are_converted_to_what_the_shape_says():
    assert decode(_encoded(COLOUR), (1, 5, 7), resize=False).shape == (1, 5, 7)
    assert np.array_equal(decode(_encoded(GREY), (3, 5, 7), resize=False), np.stack([GREY] * 3))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I", "I;16", "F", "LAB"])
def test_every_mode_is_decoded_in_the_shape_it_announces(mode):
    image = Image.fromarray(np.zeros((5, 7), np.uint16)) if mode == "I;16" else None
    if mode == "LAB":
        image = Image.frombytes("LAB", (7, 5), bytes(105))
    image = image or Image.fromarray(COLOUR).convert(mode)
    data = _encoded(image, "TIFF") if mode in ("I", "F", "CMYK", "YCbCr", "LAB") else _encoded(image)
    shape = shape_of(data, None)
    try:
        pixels = decode(data, shape, resize=False)
    except ValueError:
        assert mode == "LAB"
    else:
        assert (pixels.shape, pixels.dtype) == (shape, np.uint8)


def test_sixteen_bit_grey_keeps_its_contrast():
    """A microscope's or an X-ray's picture must not become one white square."""
    deep = np.linspace(0, 65535, 35).astype(np.uint16).reshape(5, 7)
    pixels = decode(_encoded(deep), (1, 5, 7), resize=False)[0]
    assert abs(pixels.astype(int) - deep // 256).max() <= 1


def test_another_size_is_refused_or_resized():
    data = _encoded(GREY)
    with pytest.raises(ValueError, match="7×5 pixels where the first image has 8×8"):
        decode(data, (1, 8, 8), resize=False)
    assert decode(data, (1, 8, 8), resize=True).shape == (1, 8, 8)
    assert shape_of(data, 12) == (1, 12, 12)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_taken_sideways_is_decoded_upright(form, orientation):
    """Cameras store what the sensor saw and note how they were held; every viewer turns it."""
    stored = Image.fromarray(np.kron(np.array([[0, 80], [160, 240], [40, 200]], np.uint8), np.ones((8, 8), np.uint8)))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = _encoded(stored, form, exif=exif, **({"lossless": True} if form == "WEBP" else {}))
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}
    upright = np.asarray(stored.transpose(Image.Transpose(turns[orientation])) if orientation > 1 else stored)
    shape = shape_of(data, None)
    assert shape[1:] == upright.shape
    assert abs(decode(data, (1, *upright.shape), resize=False)[0].astype(int) - upright).max() <= 3


def test_sixteen_bit_grey_is_turned_too():
    exif = Image.Exif()
    exif[0x0112] = 6
    deep = np.linspace(0, 65535, 35).astype(np.uint16).reshape(5, 7)
    data = _encoded(deep, exif=exif)
    assert shape_of(data, None) == (1, 7, 5)
    assert abs(decode(data, (1, 7, 5), resize=False)[0].astype(int) - np.rot90(deep, -1) // 256).max() <= 1


@pytest.mark.filterwarnings("error")
def test_a_broken_note_on_how_a_picture_was_taken_leaves_it_as_it_is():
    data = _encoded(GREY, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\x01\x12\0\x03")
    assert np.array_equal(decode(data, (1, 5, 7), resize=False), GREY[None])


def test_resizing_keeps_a_plain_image_plain():
    assert set(decode(_encoded(np.full((9, 5), 200, np.uint8)), (1, 4, 4), resize=True).ravel()) == {200}


def _png(width: int, height: int) -> bytes:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9000, 50_000])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(side):
    with pytest.raises(ValueError, match="not a decodable image"):
        decode(_png(side, side), (1, side, side), resize=True)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF"])
def test_an_image_cut_short_is_refused(form):
    data = _encoded(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8), form)
    with pytest.raises(ValueError, match="not a decodable image"):
        decode(data[: len(data) // 2], (3, 32, 32), resize=False)


def test_a_format_variant_that_pillow_lacks_is_refused():
    data = bytearray(_encoded(COLOUR, "DDS"))
    data[80:84] = struct.pack("<I", 1)  # pixel format flags that no decoder knows
    with pytest.raises(ValueError, match="not a decodable image"):
        decode(bytes(data), (3, 5, 7), resize=False)


_FORMS = [_encoded(COLOUR, form) for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "PPM", "ICO", "TGA")]


@pytest.mark.filterwarnings("ignore::UserWarning")
@settings(max_examples=30, deadline=None, database=None)
@given(
    st.one_of(st.just(b""), *map(st.just, _FORMS)),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    st.binary(max_size=60),
    st.booleans(),
)
@example(b"", [], b"", True)
def test_arbitrary_bytes_raise_only_value_errors(data, changes, tail, resize):
    content = bytearray(data)
    for at, value in changes if content else []:
        content[at % len(content)] = value
    try:
        pixels = decode(bytes(content + tail), (3, 5, 7), resize=resize)
    except ValueError:
        return
    assert (pixels.shape, pixels.dtype) == ((3, 5, 7), np.uint8)


def test_the_first_decodable_image_sets_the_shape():
    assert first_shape([None, b"no image", _encoded(GREY), _encoded(COLOUR)], None, "here") == (1, 5, 7)


@pytest.mark.parametrize(("images", "got"), [([], "no image at all"), ([None], "no image"), ([b"x"], "decodable")])
def test_no_decodable_image_at_all_is_refused(images, got):
    with pytest.raises(BadInput) as caught:
        first_shape(images, None, "column 'img'")
    assert caught.value.where == "column 'img'"
    assert got in caught.value.got
