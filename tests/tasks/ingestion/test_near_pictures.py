"""Re-encoded and resized pictures are copies; other photos, digits, noise and the same shape in red are none."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from tasks.ingestion.near_pictures import near_pictures, perceptual_hashes, pictures_of_vectors, prints_of
from tasks.kernels.near_pairs import pairs_of


def photo(seed: int, side: int = 96) -> Image.Image:
    """What has a photo's spectrum: much at low frequencies, in three channels that go together."""
    generator = np.random.default_rng(seed)
    frequencies = np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.rfftfreq(side), indexing="ij"))
    shared = generator.standard_normal((1, side, side))
    field = shared + 0.3 * generator.standard_normal((3, side, side))
    smooth = np.fft.irfft2(np.fft.rfft2(field) / np.maximum(frequencies, 1 / side) ** 1.2, (side, side))
    pixels = 128 + 50 * (smooth - smooth.mean((1, 2), keepdims=True)) / smooth.std()
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8).transpose(1, 2, 0))


def encoded(picture: Image.Image, form: str = "PNG", **options: int) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def pairs_among(pictures: list[bytes] | list[np.ndarray]) -> set[tuple[int, int]]:
    found = near_pictures(prints_of(enumerate(pictures)))
    return set(zip(found.first.tolist(), found.second.tolist(), strict=True))


PHOTOS = [photo(seed) for seed in range(40)]


@pytest.mark.parametrize(
    "copy",
    [
        lambda picture: encoded(picture, "JPEG", quality=75),
        lambda picture: encoded(picture, "JPEG", quality=50),
        lambda picture: encoded(picture, "JPEG", quality=40),
        lambda picture: encoded(picture, "WEBP", quality=60),
        lambda picture: encoded(picture.resize((48, 48))),
        lambda picture: encoded(picture.resize((200, 200)), "JPEG", quality=60),
        lambda picture: encoded(picture.convert("RGBA")),
    ],
    ids=["jpeg 75", "jpeg 50", "jpeg 40", "webp", "half", "double and jpeg", "with alpha"],
)
def test_a_picture_in_another_format_size_or_quality_is_a_copy_and_another_is_none(copy):
    pictures = [encoded(picture) for picture in PHOTOS] + [copy(picture) for picture in PHOTOS]
    assert pairs_among(pictures) == {(i, i + len(PHOTOS)) for i in range(len(PHOTOS))}


def test_a_photo_in_red_is_no_copy_of_it_in_blue():
    grey = np.asarray(PHOTOS[0].convert("L")).astype(float)
    # The same luma, by the weights of ITU-R 601.
    red = np.stack([grey * 0.8 + 45, grey * 0.8, grey * 0.8], 2)
    blue = np.stack([grey * 0.8, grey * 0.8, grey * 0.8 + 118], 2)
    pictures = [Image.fromarray(np.clip(x, 0, 255).astype(np.uint8)) for x in (red, blue)]
    assert pairs_among([encoded(picture) for picture in pictures]) == set()


@pytest.mark.parametrize("side", [8, 16, 28, 64])
def test_digits_are_no_copies_of_one_another(side):
    digits = [Image.fromarray((x * 15.9).astype(np.uint8)).resize((side, side)) for x in load_digits().images]
    pictures = [np.asarray(digit) for digit in digits]
    prints = prints_of(enumerate(pictures))
    assert len(near_pictures(prints).first) == 0
    assert prints.tiny == (len(digits) if side < 16 else 0)


def test_noise_and_flat_pictures_have_no_copies():
    generator = np.random.default_rng(0)
    noise = [generator.integers(0, 256, (32, 32, 3), dtype=np.uint8) for _ in range(500)]
    flat = [
        np.full((32, 32, 3), level, np.uint8) + generator.integers(0, 2, (32, 32, 3), dtype=np.uint8)
        for level in (9, 9)
    ]
    prints = prints_of(enumerate(noise + flat))
    assert prints.flat == 2
    assert len(near_pictures(prints).first) == 0


@pytest.mark.parametrize("side", [64, 96])
def test_a_small_defect_makes_another_picture_of_the_same_scene(side):
    generator = np.random.default_rng(0)
    scene = np.asarray(photo(0, side + 2)).astype(float)
    pictures = []
    for levels in (0, -50, 50, 0):
        x, y = generator.integers(0, 3, 2)
        seen = scene[y : y + side, x : x + side] + generator.normal(0, 4, (side, side, 3))
        x, y = generator.integers(0, side - 12, 2)
        seen[y : y + 12, x : x + 12] += levels
        pictures.append(encoded(Image.fromarray(np.clip(seen, 0, 255).astype(np.uint8))))
    assert pairs_among(pictures) == {(0, 3)}


def test_no_picture_has_no_copies():
    assert pairs_among([]) == set()
    assert pairs_among([np.zeros((4, 4), np.uint8)]) == set()


@pytest.mark.parametrize("side", [4, 32])
def test_what_an_encoder_says_of_tiny_pictures_and_of_one_colour_cannot_be_confirmed(side):
    prints = prints_of(enumerate([np.zeros((side, side), np.uint8)] * 3))
    proposed = pairs_of([(np.array([0, 1]), np.array([1, 2]), np.zeros(2))])
    assert len(near_pictures(prints).first) == len(pictures_of_vectors(prints, proposed).first) == 0


def test_the_hash_tells_the_frequencies_of_a_cosine():
    columns = np.tile(np.arange(32), (32, 1))
    wave = np.cos(np.pi * (2 * columns + 1) * 3 / 64)  # the frequency (0, 3) and no other
    (only,) = perceptual_hashes(wave[None].astype(np.float32) * 100)
    assert int(only) >> (63 - 3) & 1
    (turned,) = perceptual_hashes(wave.T[None].astype(np.float32) * 100)
    assert int(turned) >> (63 - 24) & 1


def test_the_hash_is_that_of_the_library_imagehash():
    prints = prints_of((i, encoded(picture)) for i, picture in enumerate(PHOTOS[:3]))
    # str(imagehash.phash(picture)) of ImageHash 4.3.2; a bit or two may turn with the libraries that draw and resize.
    library = (0xBD041DAB9291B57C, 0xB3BA1C513F1A8E64, 0xA42D6AD81D8F88F3)
    for ours, theirs in zip(np.concatenate(prints.hashes).tolist(), library, strict=True):
        assert (ours ^ theirs).bit_count() <= 2
