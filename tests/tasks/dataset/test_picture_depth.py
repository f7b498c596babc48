"""Pictures of 16 bits: one value is one grey in all of a set, whatever else a picture holds."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from tasks.dataset.encoders.frozen_pictures import PretrainedPictures
from tasks.dataset.images import decode, look_at
from tasks.dataset.payload import Payload, picture_payload, to_array


def deep(largest: int, form: str = "PNG") -> bytes:
    """A picture whose first pixel is 200 and whose last one is the largest."""
    pixels = np.full((5, 7), 100, np.uint16)
    pixels[0, 0], pixels[-1, -1] = 200, largest
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


def shallow() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.full((5, 7), 200, np.uint8)).save(out, "PNG")
    return out.getvalue()


def looked(*pictures: bytes):
    return look_at([lambda data=data: io.BytesIO(data) for data in pictures], None, None, "here")


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize(
    ("largest", "bits", "grey"),
    [((200, 250), 8, 200), ((200, 300, 4095), 12, 12), ((200, 300, 5000), 16, 0), ((65535,), 16, 0)],
)
def test_the_brightest_picture_says_the_bits_of_all(largest, bits, grey, form):
    pictures = [deep(value, form) for value in largest]
    payload = picture_payload("image", looked(*pictures))
    assert payload.bits == bits
    pixels = to_array(pa.record_batch({"image": pa.array(pictures, pa.binary())}), payload)
    assert set(pixels[:, 0, 0, 0].tolist()) == {grey}


def test_fewer_bits_than_16_are_told_with_how_many_were_looked_at():
    (note,) = looked(*[deep(4000)] * 100).notes
    assert note.startswith("pictures of 16 bits are read as of 12: none of the 64 looked at is brighter")
    assert looked(deep(5000)).notes == ()


def test_what_is_brighter_than_those_looked_at_is_white_and_does_not_begin_again_at_black():
    assert decode(deep(5000), (1, 5, 7), resize=False, bits=12)[0, -1, -1] == 255


def test_pictures_of_8_bits_and_payloads_of_them_are_what_they_were():
    look = looked(shallow(), shallow())
    assert (look.bits, look.notes) == (0, ())
    assert "bits" not in picture_payload("image", look).model_dump()
    assert picture_payload("image", looked(shallow(), deep(300))).bits == 12
    floats = io.BytesIO()
    Image.fromarray(np.ones((5, 7), np.float32)).save(floats, "TIFF")
    assert looked(floats.getvalue()).bits == 0


def test_a_deep_picture_that_does_not_open_says_nothing():
    assert looked(deep(300), deep(60000)[:-30]).bits == 12


def test_vectors_of_one_file_that_is_read_in_two_ways_are_kept_apart():
    encoder = PretrainedPictures(weights="none")
    vars(encoder)["digest"] = "e" * 64
    payload = Payload(kind="image", columns=("image",), shape=(1, 5, 7), dtype="uint8", resize=True)
    names = {encoder.key(payload.model_copy(update={"bits": bits})) for bits in (0, 8, 12, 16)}
    assert len(names) == 4
