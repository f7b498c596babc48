"""An encoded picture becomes pixels of the one shape, or a ValueError that says why not; a look says which shape."""

from __future__ import annotations

import base64
import io
import struct
import sys
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image

from tasks.core.errors import BadInput
from tasks.dataset import images
from tasks.dataset.images import decode, header_of, look_at, open_picture, spread

GREY = np.random.default_rng(0).integers(0, 256, (5, 7), dtype=np.uint8)
COLOUR = np.random.default_rng(1).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def _encoded(pixels: np.ndarray | Image.Image, form: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(out, form, **options)
    return out.getvalue()


def shape_of(data: bytes, size: int | None) -> tuple[int, int, int]:
    """What a set of one picture is read as."""
    return look_at([lambda: io.BytesIO(data)], size, None, "here").shape


def _look(*pictures: bytes, size: int | None = None, channels: int | None = None) -> images.Look:
    return look_at([lambda data=data: io.BytesIO(data) for data in pictures], size, channels, "here")


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


@pytest.mark.parametrize(("largest", "step"), [(255, 1), (4095, 16), (65535, 256)])
@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_sixteen_bits_that_hold_fewer_are_scaled_by_those_they_hold(largest, step, form):
    deep = np.linspace(0, largest, 35).astype(np.uint16).reshape(5, 7)
    assert np.array_equal(decode(_encoded(deep, form), (1, 5, 7), resize=False)[0], deep // step)


@pytest.mark.parametrize(
    ("values", "least", "largest"),
    [
        (np.linspace(-3, 5, 35), -3, 5),
        (np.linspace(0.2, 0.8, 35), 0, 1),
        (np.linspace(0, 1e6, 35), 0, 1e6),
        (np.linspace(-(2**31), 2**31 - 1, 35).astype(np.int32), -(2**31), 2**31 - 1),
        (np.linspace(0, 200_000, 35).astype(np.int32), 0, 200_000),
    ],
)
def test_floats_and_whole_numbers_of_32_bits_are_scaled_by_their_range(values, least, largest):
    deep = values.astype(np.float32 if values.dtype.kind == "f" else np.int32).reshape(5, 7)
    pixels = decode(_encoded(deep, "TIFF"), (1, 5, 7), resize=False)[0]
    expected = (deep.astype(np.float64) - least) / (largest - least) * 255
    assert abs(pixels - expected).max() <= 0.6


def test_what_is_not_finite_is_black_and_hides_nothing_else():
    deep = np.linspace(0, 1, 35, dtype=np.float32).reshape(5, 7)
    deep[0, :3] = np.nan, np.inf, -np.inf
    pixels = decode(_encoded(deep, "TIFF"), (1, 5, 7), resize=False)[0]
    assert pixels[0, :3].tolist() == [0, 0, 0]
    assert pixels[4, 6] == 255
    assert not decode(_encoded(np.full((5, 7), np.nan, np.float32), "TIFF"), (1, 5, 7), resize=False).any()


@pytest.mark.parametrize("form", ["PNG", "WEBP", "TIFF"])
def test_what_is_transparent_is_white_whatever_lies_hidden_there(form):
    pixels = np.dstack([COLOUR, np.zeros((5, 7), np.uint8)])
    pixels[0, 0] = (10, 20, 30, 255)
    data = _encoded(pixels, form, **({"lossless": True} if form == "WEBP" else {}))
    seen = decode(data, (3, 5, 7), resize=False)
    assert seen[:, 0, 0].tolist() == [10, 20, 30]
    assert set(seen.reshape(3, -1)[:, 1:].ravel()) == {255}


@pytest.mark.parametrize("form", ["PNG", "GIF"])
def test_a_transparent_colour_of_a_palette_is_white_too(form):
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([200, 0, 0, 0, 0, 90])
    assert decode(_encoded(image, form, transparency=1), (3, 1, 2), resize=False).tolist() == [
        [[200, 255]],
        [[0, 255]],
        [[0, 255]],
    ]
    half = _encoded(Image.merge("LA", [Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 51)]))
    assert decode(half, (1, 1, 1), resize=False).tolist() == [[[224]]]


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_a_moving_picture_the_first_frame_is_read(form):
    frames = [Image.new("RGB", (6, 4), colour) for colour in ((255, 0, 0), (0, 0, 255), (0, 255, 0))]
    out = io.BytesIO()
    frames[0].save(out, form, save_all=True, append_images=frames[1:])
    assert open_picture(out.getvalue()).getpixel((3, 2))[0] > 250


def test_inks_become_colours():
    data = _encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")
    assert abs(decode(data, (3, 8, 8), resize=False)[:, 4, 4].astype(int) - (255, 0, 0)).max() <= 6


def test_another_size_is_refused_or_resized():
    data = _encoded(GREY)
    with pytest.raises(ValueError, match="7×5 pixels where the others have 8×8"):
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


@pytest.mark.parametrize("side", [20_000, 50_000])
def test_a_decompression_bomb_is_refused_before_it_is_unpacked(side):
    with pytest.raises(ValueError, match=f"{side:,}×{side:,} pixels, more than 300,000,000|exceeds limit"):
        decode(_png(side, side), (1, side, side), resize=True)


def test_a_phones_largest_picture_is_read(monkeypatch):
    """200 megapixels; a JPEG is decoded no larger than it must be."""
    monkeypatch.setattr(images.Image, "MAX_IMAGE_PIXELS", images._LARGEST)
    sizes = []
    monkeypatch.setattr(images, "on_white", lambda image: sizes.append(image.size) or image.convert("L"))
    data = _encoded(Image.new("L", (16_320, 12_240), 90), "JPEG", quality=1)
    assert set(decode(data, (1, 12, 16), resize=True).ravel()) <= set(range(84, 97))
    assert sizes == [(2040, 1530)]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "an empty file"),
        (b"<!DOCTYPE html><html>", "it begins with b'<!DOCTYPE ht'"),
        (_encoded(COLOUR, "JPEG")[:200], "runcated"),
    ],
    ids=["empty", "html", "cut"],
)
def test_a_refusal_says_why(data, cause):
    with pytest.raises(ValueError, match=cause):
        decode(data, (3, 5, 7), resize=True)


# 48 × 64 pixels of one grey, as pillow-heif writes them: what reads HEIC here cannot write it.
HEIC = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAAAAAAAAAAACJpbG9jAA"
    "AAAERAAAEAAQAAAAABoQABAAAAAAAAABIAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABodmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAA"
    "AADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEAGEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkA"
    "AAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAAAwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAA"
    "AAAoY2xhcAAAADAAAAABAAAAQAAAAAH////wAAAAAgAAAAAAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAAB"
    "ptZGF0AAAADigBrwQY+AOjn/jUCFww"
)


def test_a_phones_heic_is_read():
    picture = open_picture(HEIC)
    assert picture.size == (48, 64)
    assert np.abs(np.asarray(picture).astype(int) - 120).max() <= 3


def test_without_what_reads_it_a_phones_heic_names_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    monkeypatch.setattr(Image, "ID", [kind for kind in Image.ID if kind != "HEIF"])
    with pytest.raises(ValueError, match=r"a HEIC picture, .*pip install -e '\.\[vision\]'"):
        open_picture(HEIC)


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


# ---- a look at a set ---------------------------------------------------------------------------------------------


def test_pictures_of_one_small_size_keep_it_and_there_is_nothing_to_tell():
    assert _look(*[_encoded(COLOUR)] * 3)[:2] == ((3, 5, 7), ())


def test_what_is_no_picture_does_not_count():
    assert _look(b"no image", b"", _encoded(GREY)).shape == (1, 5, 7)


@pytest.mark.parametrize(
    ("sizes", "side", "words"),
    [
        ([(30, 20), (10, 8), (40, 40)], (30, 30), "pictures of 10×8 to 40×40 pixels are read as 30×30"),
        (
            [(400, 300), (300, 400), (12, 9), (640, 480)],
            (64, 64),
            "pictures of 12×9 to 640×480 pixels are read as 64×64",
        ),
        ([(400, 300)] * 3, (48, 64), "pictures of 400×300 pixels are read as 64×48"),
        ([(28, 20), (28, 20), (28, 20), (9, 9)], (20, 28), "pictures of 9×9 to 28×20 pixels are read as 28×20"),
    ],
)
def test_several_sizes_or_large_ones_are_resized_and_that_is_told(sizes, side, words):
    look = _look(*[_encoded(Image.new("RGB", size)) for size in sizes])
    assert look.shape == (3, *side)
    assert look.notes == (f"{words} (--reader.image-size)",)
    assert _look(*[_encoded(Image.new("RGB", size)) for size in sizes], size=16)[:2] == ((3, 16, 16), ())


def test_a_set_is_grey_where_most_of_it_is_whichever_comes_first():
    grey, colour = _encoded(GREY), _encoded(COLOUR)
    assert _look(grey, colour, colour)[:2] == ((3, 5, 7), ())
    assert _look(grey, colour).shape[0] == 3
    mostly_grey = _look(colour, grey, grey)
    assert mostly_grey.shape[0] == 1
    assert "1 of the 3 pictures looked at (--reader.channels)" in mostly_grey.notes[0]
    assert _look(colour, grey, grey, channels=3)[:2] == ((3, 5, 7), ())


def test_a_look_reads_headers_alone():
    data = _encoded(np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8), "JPEG")
    assert header_of(io.BytesIO(data[: len(data) // 2])) == (48, 64, False, False)


@pytest.mark.parametrize(("count", "most"), [(0, 4), (3, 4), (4, 4), (5, 4), (1000, 7)])
def test_a_look_is_spread_over_a_set(count, most):
    places = spread(count, most)
    assert len(places) == min(count, most) == len(set(places))
    assert all(0 <= place < count for place in places)
    assert not places or max(np.diff([*places, count]), default=0) <= -(-count // most)


@pytest.mark.parametrize(("pictures", "got"), [([], "no picture at all"), ([b"x"], "it begins with b'x'")])
def test_no_decodable_image_at_all_is_refused(pictures, got):
    with pytest.raises(BadInput) as caught:
        look_at([lambda data=data: io.BytesIO(data) for data in pictures], None, None, "column 'img'")
    assert caught.value.where == "column 'img'"
    assert got in caught.value.got
