"""A convolution's norms by shifted pixels are those of the gradients that autograd gives, and taken where cheaper."""

import pytest
import torch
from torch.nn import functional

from tasks.kernels.factors import Convolutional
from tasks.kernels.shifts import Convolution, shifted_built, shifted_ghost

GEOMETRIES = {
    "plain": Convolution((3, 3), (1, 1), (0, 0), (1, 1), 1),
    "padded": Convolution((3, 2), (1, 1), (1, 2), (1, 1), 1),
    "dilated": Convolution((2, 3), (1, 1), (2, 2), (2, 3), 1),
    "with stride": Convolution((3, 2), (2, 1), (1, 0), (1, 1), 1),
    "with stride, dilated, and pixels that no patch reaches": Convolution((2, 2), (3, 2), (0, 1), (1, 2), 1),
    "flat": Convolution((1, 3), (1, 1), (0, 1), (1, 1), 1),
}


@pytest.mark.parametrize("name", GEOMETRIES)
@pytest.mark.parametrize("shifted", [shifted_ghost, shifted_built])
def test_shifted_pixels_have_the_norms_that_autograd_gives_each_sample_alone(device, shifted, name):
    how = GEOMETRIES[name]
    if shifted is shifted_built and how.stride != (1, 1):
        pytest.skip("its pixels do not follow one another")
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(4, 3, 8, 9, dtype=torch.float64, generator=generator).to(device)
    weight = torch.zeros(5, 3, *how.kernel, dtype=torch.float64, device=device, requires_grad=True)
    outputs = [functional.conv2d(x[None], weight, None, *how[1:]) for x in inputs]
    delta = torch.randn(4, *outputs[0].shape[1:], dtype=torch.float64, generator=generator).to(device)
    expected = [torch.autograd.grad(y, weight, d[None])[0].square().sum() for y, d in zip(outputs, delta, strict=True)]
    torch.testing.assert_close(shifted(delta, inputs, how), torch.stack(expected), rtol=1e-10, atol=1e-10)


# ResNet-18's layers on 32 × 32 pixels, beside each the route that took least CPU time of a batch of 32; of the last
# two, a pointwise layer and a patch embedding, the one of fewest multiplications.
@pytest.mark.parametrize(
    ("c", "o", "size", "kernel", "stride", "route"),
    [(3, 64, 32, 3, 1, "built"), (64, 64, 32, 3, 1, "shifted_built"), (128, 128, 16, 3, 1, "shifted_ghost"),
     (256, 256, 8, 3, 1, "shifted_ghost"), (512, 512, 4, 3, 1, "shifted_ghost"), (64, 128, 32, 3, 2, "built"),
     (128, 256, 16, 3, 2, "ghost"), (64, 128, 32, 1, 2, "built"), (3, 384, 224, 16, 16, "ghost")],
)  # fmt: skip
def test_the_cheapest_route_is_taken(c, o, size, kernel, stride, route):
    padding = 1 if kernel == 3 else 0
    how = Convolution((kernel, kernel), (stride, stride), (padding, padding), (1, 1), 1)
    positions = (size + 2 * padding - kernel) // stride + 1
    delta, inputs = torch.empty(1, o, positions, positions), torch.empty(1, c, size, size)
    assert Convolutional(delta, inputs, how)._route() == route
