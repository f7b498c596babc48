"""Each image is cropped out of its own zero-padded self and mirrored or not, by draws that a seed repeats."""

import pytest
import torch
from jaxtyping import TypeCheckError

from tasks.kernels.augment import crop_flip


def by_loop(images, pad, generator):
    """The same draws, one image at a time."""
    n, channels, height, width = images.shape
    tops = torch.randint(0, 2 * pad + 1, (n, 1), generator=generator)
    lefts = torch.randint(0, 2 * pad + 1, (n, 1), generator=generator)
    flips = torch.rand((n, 1), generator=generator) < 0.5
    out = []
    for image, top, left, flip in zip(images, tops, lefts, flips, strict=True):
        padded = torch.zeros(channels, height + 2 * pad, width + 2 * pad, dtype=images.dtype, device=images.device)
        padded[:, pad : pad + height, pad : pad + width] = image
        crop = padded[:, int(top) : int(top) + height, int(left) : int(left) + width]
        out.append(crop.flip(2) if flip else crop)
    return torch.stack(out)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int8, torch.float32])
@pytest.mark.parametrize(("n", "shape", "pad"), [(1, (1, 4, 4), 1), (25, (3, 6, 9), 2), (8, (1, 5, 3), 4)])
def test_a_batch_is_augmented_as_its_images_would_be_one_by_one(device, dtype, n, shape, pad):
    images = torch.randint(1, 100, (n, *shape), generator=torch.Generator().manual_seed(0)).to(dtype).to(device)
    found = crop_flip(images, pad=pad, generator=torch.Generator().manual_seed(7))
    assert found.dtype == dtype
    assert torch.equal(found, by_loop(images, pad, torch.Generator().manual_seed(7)))


def test_every_pixel_comes_from_the_image_itself_or_from_the_padding(device):
    # Image i holds only the value i + 1: another image's pixel would show.
    images = (torch.arange(20, dtype=torch.float32) + 1)[:, None, None, None].expand(20, 2, 8, 8).to(device)
    found = crop_flip(images, pad=4, generator=torch.Generator().manual_seed(1))
    assert ((found == images) | (found == 0)).all()
    assert (found == images).any(dim=(1, 2, 3)).all()


def test_without_padding_an_image_is_itself_or_its_mirror_and_about_half_are_mirrored(device):
    images = torch.arange(400 * 12, dtype=torch.float32).view(400, 1, 3, 4).to(device)
    found = crop_flip(images, pad=0, generator=torch.Generator().manual_seed(2))
    same = (found == images).all(dim=(1, 2, 3))
    mirrored = (found == images.flip(3)).all(dim=(1, 2, 3))
    assert (same ^ mirrored).all()
    assert 140 < int(mirrored.sum()) < 260


def test_the_same_seed_repeats_and_the_generator_moves_on(device):
    images = torch.rand(16, 1, 8, 8, device=device)
    generator = torch.Generator().manual_seed(3)
    first, second = (crop_flip(images, pad=4, generator=generator) for _ in range(2))
    again = crop_flip(images, pad=4, generator=torch.Generator().manual_seed(3))
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_vectors_are_refused():
    with pytest.raises(TypeCheckError):
        crop_flip(torch.zeros(3, 4), pad=1, generator=torch.Generator())
